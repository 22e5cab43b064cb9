"""Tables in Markdown."""

from collections.abc import Iterable, Mapping, Sequence


def grid(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table with numbers to the right of the first column."""
    lines = [f"| {' | '.join(headings)} |", "|---|" + "---:|" * (len(headings) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]) + "\n"


def commits_in_words(commits: Mapping[str, str]) -> str:
    """Versions with the beginnings of their commits."""
    return ", ".join(f"{version} {commit[:10]}" for version, commit in commits.items())
