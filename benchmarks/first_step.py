"""Measure what a command takes from its start to its first training step, beyond importing torch.

    python benchmarks/first_step.py [--before CHECKOUT] [--output benchmarks/results/first-step-cpu.json]

CHECKOUT is another checkout, such as a `git worktree` of an earlier commit. `again` finds the data decoded by
an earlier command, `anew` decodes them; all take turns. Times are medians, in seconds: of the CPU's time in
the process and of the clock's, the first step included, less those of importing torch. Presets on
real data are left out without CRDKIT_DATA, the folder of nyuv2.h5 and tiny32_base.h5.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from startup import ROOT, commit_of, environment
from turns import command_line, surroundings, write

EMBEDDED = {name: [name] for name in ("compress", "crossmodal", "ensemble")}
REAL = {
    "compress tiny32-small": ["compress", "tiny32-small", "tiny32_base.h5"],
    "crossmodal nyu-small": ["crossmodal", "nyu-small", "nyuv2.h5"],
}

METRICS = "teachers/*/metrics.jsonl"
# Without the end of the interpreter, which the commands do not come to either.
BARE = [sys.executable, "-c", "import os, torch; os._exit(0)"]


class Spent(NamedTuple):
    """Seconds of a process."""

    cpu: float
    wall: float


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="of each call, after one that warms up")
    given = parser.parse_args()
    around = surroundings(given)
    versions: dict[str, tuple[Path, dict[str, str]]] = {
        "anew": (ROOT, {"CRDKIT_DECODED": "0"}),
        "again": (ROOT, {}),
    }
    if given.before is not None:
        versions = {"before": (given.before.resolve(), {}), **versions}
    real = os.environ.get("CRDKIT_DATA")
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, words in (EMBEDDED | (REAL if real else {})).items():
            script, *more = words
            arguments = [*more[:1], *(["--data.root", str(Path(real or "", more[1]))] if more else [])]
            taken: dict[str, list[Spent]] = {version: [] for version in ("torch", *versions)}
            for _ in range(given.rounds + 1):
                taken["torch"].append(ended(BARE, dict(os.environ)))
                for version, (root, own) in versions.items():
                    taken[version].append(first_step(root, script, arguments, folder, own))
            found = {version: middle(times[1:]) for version, times in taken.items()}
            row = {
                f"{version}_{kind}_s": round(getattr(found[version], kind) - getattr(found["torch"], kind), 2)
                for version in versions
                for kind in Spent._fields
            }
            row |= {f"torch_{kind}_s": round(getattr(found["torch"], kind), 2) for kind in Spent._fields}
            cases.append({"case": name, **row})
            print(cases[-1])
    commits = {"after": commit_of(ROOT)}
    if given.before is not None:
        commits = {"before": commit_of(given.before), **commits}
    write(given.output, "first_step", around, commits=commits, cases=cases, n=given.rounds)


def first_step(root: Path, script: str, arguments: list[str], folder: Path, own: Mapping[str, str]) -> Spent:
    """Run a checkout's command until its first step is in metrics.jsonl, then end it."""
    output = Path(tempfile.mkdtemp(dir=folder)) / "run"
    line = [sys.executable, str(root / "experiments" / f"{script}.py"), *arguments, "--cpu"]
    line += ["--teacher.train.log-every", "1", "--output", str(output)]
    return ended(line, {**environment(root, folder), **own}, output)


def ended(line: list[str], surrounding: dict[str, str], output: Path | None = None) -> Spent:
    """What a process takes until its end, or until a training below `output` has logged a step.

    Bytecode is kept, as it is for whoever installs the package.
    """
    surrounding.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(line, env=surrounding, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    logged = False
    try:
        while not (done := os.wait4(process.pid, os.WNOHANG))[0]:
            if output and not logged and any(path.stat().st_size for path in output.glob(METRICS)):
                process.kill()
                logged = True
            time.sleep(0.01)
    except BaseException:
        process.kill()
        raise
    if output and not logged:
        raise SystemExit(f"{' '.join(line)} ended before its first step")
    return Spent(done[2].ru_utime + done[2].ru_stime, time.perf_counter() - start)


def middle(times: list[Spent]) -> Spent:
    """The median of each."""
    return Spent(*(statistics.median(values) for values in zip(*times, strict=True)))


if __name__ == "__main__":
    main()
