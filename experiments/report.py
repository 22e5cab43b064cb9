"""Compare runs, or make the report of one anew.

    crdkit report runs/a runs/b --output runs/compared     one table, paired differences, what differs
    crdkit report runs/a                                   report.html and report.md of that run again

Reads what runs left at their end: results.json, report.json and pictures. Nothing is computed by a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from crdkit.common import UserError


@dataclass(frozen=True)
class ReportConfig:
    """Which runs, and where to."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders; the first is what the others are compared with."""
    output: Path | None = None
    """Where report.html and report.md of a comparison go; of one run its own folder if absent."""


def run(config: ReportConfig) -> Path:
    """Write the report; returns the path of report.html.

    Raises:
        FileNotFoundError: a run that has not ended.
        ValueError: no runs, or several without `output`; runs without a metric in common.
    """
    from crdkit.reports import compare, read_page, read_results, render, short_names

    results = [read_results(folder) for folder in config.runs]
    pages = [read_page(folder, one) for folder, one in zip(config.runs, results, strict=True)]
    if len(results) == 1:
        return render(config.runs[0], pages[0], results[0], output=config.output)
    if config.output is None:
        raise UserError("--output is missing: the folder for the comparison")
    page, figures = compare(short_names(config.runs), results, pages)
    return render(config.output, page, figures)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    from crdkit.experiments.errors import errors_as_messages, usage
    from crdkit.experiments.invocation import is_main_rank

    with usage("report"):
        config = tyro.cli(
            ReportConfig,
            description=__doc__,
            prog="crdkit report",
            console_outputs=is_main_rank(),
            args=None if arguments is None else list(arguments),
        )
        if not config.runs:
            raise UserError("name one run folder, or several")
        if len(config.runs) > 1 and config.output is None:
            raise UserError("--output is missing: the folder for the comparison")
    with errors_as_messages("report"):
        print(run(config))


if __name__ == "__main__":
    from crdkit.experiments.invocation import run_script

    run_script(main)
