"""Time a command from its start to its help, to an error, and to the first step of a training.

    python benchmarks/startup.py [--before CHECKOUT] [--output benchmarks/results/startup-cpu.json]

CHECKOUT is another checkout, such as a `git worktree` of an earlier commit; both take turns. The command is
`python experiments/crossmodal.py` on few rendered rooms, which earlier versions know as well. Times are
medians of wall-clock seconds, the start of the interpreter included.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from turns import command_line, medians, surroundings, write

ROOT = Path(__file__).resolve().parent.parent
LINES = {
    "help": ["--help"],
    "unknown preset": ["nyu-smal"],
    "unknown flag": ["--metod", "kd"],
    "unknown method": ["--cpu", "--method", "crd-dens"],
    "unknown network": ["--cpu", "--student", "resnet1888"],
    "value of a setting": ["--cpu", "--setting", "crd.temperature=-1"],
    "missing root": ["nyu", "--cpu", "--data.root", "absent"],
}
DATA = {
    "method twice": ["--method", "kd", "kd"],
    "workers": ["--transfer.train.num-workers", "100000"],
    "one sample": ["--data.train-samples", "1", "--data.unlabeled-samples", "0"],
    "pixels": ["--data.size", "40000", "40000"],
    "negatives": ["--method", "crd", "--setting", "crd.negatives=uniform", "crd.num_negatives=100000000000"],
}
"""Faults that earlier versions may not refuse: they are timed in this checkout alone."""
TRAINING = [
    "--cpu",
    "--data.train-samples",
    "64",
    "--data.test-samples",
    "16",
    "--data.unlabeled-samples",
    "0",
    "--method",
    "none",
    "kd",
    "--teacher.train.log-every",
    "1",
]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--rounds", type=int, default=5, help="of each call, after one that warms up")
    given = parser.parse_args()
    checkouts = {"after": ROOT} | ({} if given.before is None else {"before": given.before.resolve()})
    around = surroundings(given)
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in [*LINES.items(), ("first step", TRAINING)]:
            do = first_step if arguments is TRAINING else answer
            calls = {key: partial(do, root, arguments, Path(folder)) for key, root in checkouts.items()}
            found = medians(calls, given.rounds)
            cases.append({"case": name, **{f"{version}_s": round(t, 3) for version, t in found.items()}})
            print(cases[-1])
        for name, arguments in DATA.items():
            found = medians(
                {"after": partial(answer, ROOT, ["--cpu", *arguments], Path(folder))}, given.rounds
            )
            cases.append({"case": name, "after_s": round(found["after"], 3)})
            print(cases[-1])
    commits = {version: commit_of(root) for version, root in checkouts.items()}
    write(given.output, "startup", around, commits=commits, cases=cases, n=given.rounds)


def answer(root: Path, arguments: list[str], folder: Path) -> None:
    """Run the command until it ends, with help or with an error."""
    done = subprocess.run(
        command(root, arguments), cwd=folder, env=environment(root, folder), capture_output=True, timeout=120
    )
    if done.returncode == 0 and "--help" not in arguments:
        raise SystemExit(f"{arguments} was no error")


def first_step(root: Path, arguments: list[str], folder: Path) -> None:
    """Run a training until its first step is in metrics.jsonl, then end it."""
    output = Path(tempfile.mkdtemp(dir=folder)) / "run"
    process = subprocess.Popen(
        command(root, [*arguments, "--output", str(output)]),
        cwd=folder,
        env=environment(root, folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = output / "teachers" / "rgb-seed-0" / "metrics.jsonl"
    while not (metrics.is_file() and metrics.stat().st_size):
        if process.poll() is not None:
            raise SystemExit(f"the training of {root} ended before its first step")
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def command(root: Path, arguments: list[str]) -> list[str]:
    """The command line of a checkout's script."""
    return [sys.executable, str(root / "experiments" / "crossmodal.py"), *arguments]


def environment(root: Path, folder: Path) -> dict[str, str]:
    """One in which `crdkit` is this checkout, whatever its folder is called."""
    place = folder / str(abs(hash(root)))
    place.mkdir(exist_ok=True)
    if not (place / "crdkit").exists():
        (place / "crdkit").symlink_to(root, target_is_directory=True)
    return {**os.environ, "PYTHONPATH": str(place)}


def commit_of(root: Path) -> str:
    """The commit of a checkout."""
    words = ["git", "-C", str(root), "rev-parse", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
