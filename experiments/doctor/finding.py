"""What the doctor finds, a line or a few each."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "note", "problem"]
WIDTH = 110
SIGNS: dict[Level, str] = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
_BEFORE = 20
"""Columns before a line's text."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    """`ok` · `note`: runs, but look at it · `problem`: the run fails, or does not end."""
    topic: str
    text: str

    def __str__(self) -> str:
        text = textwrap.wrap(self.text, WIDTH - _BEFORE, break_on_hyphens=False, break_long_words=False) or [
            ""
        ]
        first = f"{SIGNS[self.level]:9}{self.topic:10} {text[0]}"
        return "\n".join([first, *(" " * _BEFORE + line for line in text[1:])])


@dataclass
class Findings:
    """All that were made, printed as they are."""

    made: list[Finding] = field(default_factory=list)
    quiet: bool = False

    def add(self, level: Level, topic: str, text: str) -> None:
        """Keep a finding and print it."""
        finding = Finding(level, topic, text)
        if finding not in self.made:
            self.made.append(finding)
            if not self.quiet:
                print(finding, flush=True)

    def count(self, level: Level) -> int:
        """Those of a level."""
        return sum(finding.level == level for finding in self.made)

    def as_rows(self) -> list[dict[str, Any]]:
        """As JSON values."""
        return [{"level": f.level, "topic": f.topic, "text": f.text} for f in self.made]
