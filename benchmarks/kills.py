"""Runs that are killed at random moments until they are done, beside one that nobody disturbs.

Each pipeline, of one process and of two, is a command of half a minute. It is started, gets SIGKILL after a
random time, is started again with `--resume`, and so on, until it ends. Of two processes it is all, or one
rank alone, or the launcher alone; the others then have to end by themselves. In the end every figure and
every bit of the weights must be those of the undisturbed run.

    python benchmarks/kills.py --kills 12 --output benchmarks/results/kills-cpu.json
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from turns import command_line, surroundings, write

from crdkit.experiments.checks import MARKS

SCRIPTS = Path(__file__).resolve().parents[1] / "experiments"
LIMIT = 600.0
"""Seconds after which a run, or what a killed rank leaves behind, counts as hanging."""
EARLIEST = 1.0


def epochs(number: int, *stages: str) -> list[str]:
    """Flags of short stages that save often."""
    each = (("epochs", number), ("warmup-epochs", 0), ("checkpoint-every", 0.2))
    return [part for stage in stages for name, value in each for part in (f"--{stage}.{name}", str(value))]


COMMON = ["--cpu", "--precision", "no", "--seed", "0"]
PIPELINES = {
    "compression": [
        "compress.py",
        "--data.classes",
        "3",
        "--teacher.architecture",
        "resnet8",
        "--method",
        "crd+kd",
        "vid",
        *epochs(4, "teacher.train", "transfer.train"),
    ],
    "ensemble": [
        "ensemble.py",
        "--data.classes",
        "3",
        "--teacher.number",
        "2",
        "--teacher.architecture",
        "resnet8",
        "--teachers",
        "2",
        "--method",
        "crd",
        "kd",
        "--transfer.cached-augmentations",
        "2",
        *epochs(4, "teacher.train", "transfer.train"),
    ],
    "segmentation": [
        "crossmodal.py",
        "--data.size",
        "32",
        "32",
        "--data.train-samples",
        "64",
        "--data.test-samples",
        "8",
        "--data.unlabeled-samples",
        "64",
        "--teacher.width",
        "8",
        "--method",
        "crd-dense+kd",
        "at",
        *epochs(4, "teacher.train", "transfer.train", "segment.train"),
    ],
    "recognition": [
        "crossmodal.py",
        "lab",
        "--data.classes",
        "3",
        "--teacher.architecture",
        "resnet8",
        "--student",
        "resnet8",
        "--method",
        "crd",
        "kd",
        *epochs(2, "teacher.train", "transfer.train", "finetune"),
    ],
}
BANKS = {"sharded": [*PIPELINES["compression"], "--setting", "crd.negatives=shared", "crd.bank=sharded"]}


def start(
    arguments: list[str], ranks: int, folder: Path, log: Path, *, resume: bool
) -> subprocess.Popen[bytes]:
    """A run in a process group of its own, all its ranks included."""
    script, *rest = arguments
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command = [sys.executable, *(launcher if ranks > 1 else []), str(SCRIPTS / script), *rest, *COMMON]
    command += ["--output", str(folder), *(["--resume"] if resume else [])]
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def ranks_of(launcher: int) -> list[int]:
    """The processes that a launcher has started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    return [int(number) for number in children.read_text().split()] if children.exists() else []


def end(process: subprocess.Popen[bytes], whom: str) -> float:
    """SIGKILL to a run or to a part of it; the seconds until nothing of it is left."""
    began, ranks = time.monotonic(), ranks_of(process.pid)
    for name, number in {
        "launcher": process.pid,
        **{f"rank {r}": pid for r, pid in enumerate(ranks)},
    }.items():
        if whom in ("all", name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    process.wait(LIMIT)
    while any(map(is_alive, ranks)):
        if time.monotonic() - began > LIMIT:
            raise SystemExit(f"{whom} was killed, and of the ranks {ranks} some are left")
        time.sleep(0.05)
    return time.monotonic() - began


def is_alive(number: int) -> bool:
    """Whether a process still runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def left(folder: Path) -> dict[str, bytes]:
    """What a run has to show: its figures and all of its weights."""
    results = json.loads((folder / "results.json").read_bytes())
    figures = json.dumps([results["runs"], results["summary"], results.get("teacher")]).encode()
    return {"figures": figures} | {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))
    }


def stage_of(folder: Path) -> str:
    """The training that has checkpoints now; where there is none the run is between two of them."""
    stages = [path.parent for path in folder.rglob("checkpoints") if any(path.glob("checkpoint-*"))]
    parts = stages[0].relative_to(folder).parts if stages else ("between",)
    return parts[-1] if parts[0] != "teachers" else "teachers"


def disturbed(
    arguments: list[str], ranks: int, folder: Path, seconds: float, draw: random.Random
) -> Iterator[dict[str, Any]]:
    """Start, kill, resume until the run ends; a row for each kill."""
    log, resume = folder.with_suffix(".log"), False
    while True:
        process = start(arguments, ranks, folder, log, resume=resume)
        try:
            code = process.wait(draw.uniform(EARLIEST, seconds))
        except subprocess.TimeoutExpired:
            started = len(ranks_of(process.pid)) == ranks > 1
            whom = (
                draw.choice(["all", "launcher", *(f"rank {r}" for r in range(ranks))]) if started else "all"
            )
            yield {"stage": stage_of(folder), "whom": whom, "seconds_to_end": end(process, whom)}
            resume = any((folder / name).exists() for name in MARKS)  # else nothing is to be continued
            continue
        if code:
            raise SystemExit(f"a resumed run ended with {code}: {log.read_text()[-3000:]}")
        return


def cell(name: str, ranks: int, kills: int, folder: Path, draw: random.Random) -> dict[str, Any]:
    """One pipeline on so many ranks, until it has met so many kills."""
    arguments, began = (PIPELINES | BANKS)[name], time.monotonic()
    calm = start(arguments, ranks, folder / "calm", folder / "calm.log", resume=False)
    if calm.wait(LIMIT):
        raise SystemExit((folder / "calm.log").read_text()[-3000:])
    seconds, expected = time.monotonic() - began, left(folder / "calm")
    rows: list[dict[str, Any]] = []
    runs = bitwise = 0
    while len(rows) < kills:
        hit = folder / f"hit-{runs}"
        rows += disturbed(arguments, ranks, hit, seconds, draw)
        found = left(hit)
        runs, bitwise = runs + 1, bitwise + (found == expected)
        if found != expected:
            print("differs:", [key for key in expected if found.get(key) != expected[key]])
    return {
        "pipeline": name,
        "ranks": ranks,
        "seconds": seconds,
        "kills": len(rows),
        "runs": runs,
        "bitwise": bitwise,
        "files": len(expected),
        "stages": Counter(row["stage"] for row in rows),
        "whom": Counter(row["whom"] for row in rows),
        "slowest_end": max(row["seconds_to_end"] for row in rows),
    }


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument(
        "--kills", type=int, default=15, help="of each pipeline and number of ranks, at least"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--only", nargs="*", default=[*PIPELINES, *BANKS], help="pipelines to run")
    given: argparse.Namespace = parser.parse_args()
    around = surroundings(given)
    wanted = [(name, ranks) for name in given.only for ranks in ((2,) if name in BANKS else (1, 2))]
    cells: list[dict[str, Any]] = []

    def one(name: str, ranks: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            draw = random.Random(f"{given.seed} {name} {ranks}")
            cells.append(cell(name, ranks, given.kills, Path(folder), draw))
        print(cells[-1], flush=True)
        done = sorted(cells, key=lambda row: wanted.index((row["pipeline"], row["ranks"])))
        total = {key: sum(row[key] for row in cells) for key in ("kills", "runs", "bitwise")}
        write(given.output, "kills", around, seed=given.seed, cells=done, **total)
        print(
            "{kills} kills, {runs} runs, {bitwise} of them with the bits of the undisturbed".format(**total)
        )

    with ThreadPoolExecutor(given.jobs) as pool:
        for each in as_completed([pool.submit(one, name, ranks) for name, ranks in wanted]):
            each.result()  # what went wrong in one is told when it does, and the others are not begun


if __name__ == "__main__":
    main()
