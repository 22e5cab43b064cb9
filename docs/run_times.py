"""Tables of whole runs: start-up, first step, defaults, and runs that were killed."""

import statistics
from collections.abc import Mapping
from typing import Any

from markdown_grid import commits_in_words, grid


def startup(results: Mapping[str, Any]) -> str:
    """Seconds from a command's start to its help, to an error, and to the first step."""
    versions = [name for name in ("before", "after") if f"{name}_s" in results["cases"][0]]
    commits = commits_in_words({version: results["commits"][version] for version in versions})
    rows = [
        (case["case"], *(f"{case[f'{name}_s']:.2f}" if f"{name}_s" in case else "–" for name in versions))
        for case in results["cases"]
    ]
    table = grid(["until", *(f"{version}, s" for version in versions)], rows)
    return f"{table}\nMedians of {results['n']} calls in turns; commits: {commits}.\n"


def first_step(results: Mapping[str, Any]) -> str:
    """Seconds from a command's start to its first training step, beyond importing torch."""
    versions = [name for name in ("before", "anew", "again") if f"{name}_cpu_s" in results["cases"][0]]
    rows = [
        (case["case"], *(f"{case[f'{name}_{kind}_s']:.1f}" for kind in ("cpu", "wall") for name in versions))
        for case in results["cases"]
    ]
    headings = [f"{name}, {kind}" for kind in ("CPU s", "s") for name in versions]
    commits = commits_in_words(results["commits"])
    torch = statistics.median(case["torch_cpu_s"] for case in results["cases"])
    told = f"Importing torch takes {torch:.1f} s of CPU. Medians of {results['n']} calls in turns"
    return f"{grid(['command', *headings], rows)}\n{told}; commits: {commits}.\n"


def defaults(results: Mapping[str, Any]) -> str:
    """Seconds of each command's embedded default, from its start to its end."""
    versions = list(results["commits"])
    kinds = {"wall": "s", "cpu": "CPU s"}
    rows = [
        (case["case"], *(f"{case[version][kind]:.0f}" for kind in kinds for version in versions))
        for case in results["cases"]
    ]
    headings = [f"{version}, {unit}" for unit in kinds.values() for version in versions]
    commits = commits_in_words(results["commits"])
    calls = "one call" if results["n"] == 1 else f"medians of {results['n']} calls"
    return f"{grid(['command', *headings], rows)}\nOf {calls} in turns; commits: {commits}.\n"


def kills(results: Mapping[str, Any]) -> str:
    """Runs that were killed at random moments, beside undisturbed ones."""

    def counted(found: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {number}" for name, number in sorted(found.items()))

    table = grid(
        ["pipeline", "ranks", "kills", "killed", "in", "runs", "same bits", "ended within, s"],
        [
            (
                cell["pipeline"],
                cell["ranks"],
                cell["kills"],
                counted(cell["whom"]),
                counted(cell["stages"]),
                cell["runs"],
                cell["bitwise"],
                f"{cell['slowest_end']:.1f}",
            )
            for cell in results["cells"]
        ],
    )
    told = "{kills} kills; of {runs} runs {bitwise} ended with every figure and every bit of the undisturbed."
    return f"{table}\n{told.format(**results)}\n"
