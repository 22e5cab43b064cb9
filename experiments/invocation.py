"""The command line that started a run, to be told and to be started again; and its ranks."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ..common import UserError, available_cores

LAUNCHED = ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID")
"""Variables by which a launcher's process is known."""
PROCESSES = "CRDKIT_PROCESSES"
"""The ranks that `--processes` asked for, so that they can tell how they were started."""


FLAG, TRACEBACK = "--traceback", "CRDKIT_TRACEBACK"
"""The option, and the variable that it sets to 1, also for the ranks that this process starts."""


def is_launched() -> bool:
    """Whether a launcher started this process."""
    return any(name in os.environ for name in LAUNCHED)


def is_main_rank() -> bool:
    """Whether this process is the one that talks, before there is an accelerator."""
    return int(os.environ.get("RANK", 0)) == 0


def shows_traceback() -> bool:
    """Whether errors that the user can correct are printed with their traceback."""
    return os.environ.get(TRACEBACK, "0") not in ("", "0")


@contextmanager
def tracebacks(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Show the traceback of every error in the body if `--traceback` is given; yield the other arguments."""
    before = os.environ.get(TRACEBACK)
    if FLAG in arguments:
        os.environ[TRACEBACK] = "1"
    try:
        yield [word for word in arguments if word != FLAG]
    finally:
        if before is None:
            os.environ.pop(TRACEBACK, None)
        else:
            os.environ[TRACEBACK] = before


def run_script(main: Callable[[Sequence[str]], None]) -> None:
    """Run a command with the arguments of this process, `--traceback` among them."""
    with tracebacks(sys.argv[1:]) as arguments:
        main(arguments)


def command_line(folder: Path | None = None) -> str:
    """What a person typed to start this process, its launcher included.

    Args:
        folder: the run's; then the line is the one that continues the run in it.
    """
    start, given = _start(), sys.argv[1:]
    if PROCESSES in os.environ:
        given = [*given, "--processes", os.environ[PROCESSES]]
    if folder is not None:
        kept = [word for word in without(given, "--output") if word not in ("--resume", "--no-resume")]
        given = [*kept, "--output", str(folder), "--resume"]
    return shlex.join([*start, *given])


def start_ranks(command: str, arguments: Sequence[str], processes: int, *, cpu: bool) -> NoReturn:
    """Become Accelerate's launcher of so many ranks of a command on this machine.

    Args:
        cpu: on its cores even if there are GPUs.

    Raises:
        ValueError: there are fewer GPUs.
    """
    import torch

    gpus = 0 if cpu else torch.cuda.device_count()
    if 0 < gpus < processes:
        raise UserError(
            f"--processes {processes}: this machine has {gpus} GPUs; --cpu starts ranks on its cores"
        )
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, available_cores() // processes))
    options = [
        "--num_processes",
        str(processes),
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--num_cpu_threads_per_process",
        threads,
    ]
    environment = {**os.environ, PROCESSES: str(processes)}
    if processes > 1:
        options.append("--multi_gpu")  # the launcher's only way to several processes, on CPUs as well
    if not gpus:
        environment["ACCELERATE_USE_CPU"] = "true"
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *options, "-m", "crdkit"]
    sys.stdout.flush()
    os.execve(sys.executable, [*launcher, command, *arguments], environment)


def use_cores() -> None:
    """Compute in all cores of this process's share, as `torch` alone would.

    A launcher gives each rank one thread unless told otherwise. A person's own choice stays: OMP_NUM_THREADS
    before the launcher, its --num_cpu_threads_per_process, or any other number than 1.
    """
    import psutil
    import torch

    given = os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS")
    if given is not None:
        if not is_launched() or given != "1":
            return
        try:
            launcher = psutil.Process(os.getppid())
            said = "OMP_NUM_THREADS" in launcher.environ()
            if said or any("num_cpu_threads_per_process" in word for word in launcher.cmdline()):
                return
        except psutil.Error:
            return  # nobody can say who chose
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    torch.set_num_threads(max(1, available_cores() // ranks))


def _start() -> list[str]:
    """The words before the arguments."""
    own = Path(sys.argv[0])
    typed = ["crdkit"] if own.name == "crdkit" or _is_package(own) else ["python", sys.argv[0]]
    if not is_launched() or PROCESSES in os.environ:
        return typed
    words = _parent()
    if _is_package(own):
        ends = [i for i in range(len(words)) if words[i - 1 : i + 1] == ["-m", "crdkit"]]
    else:
        ends = [i for i, word in enumerate(words) if Path(word).name == own.name]
    if ends:
        script = words[: ends[-1] + 1]
        skipped = 1 if Path(script[0]).name.startswith("python") and not script[1].startswith("-") else 0
        return [Path(script[skipped]).name, *script[skipped + 1 :]]
    return ["accelerate", "launch", sys.argv[0]]


def _is_package(script: Path) -> bool:
    """Whether a script is what `python -m crdkit` runs, in a checkout whose folder has any name as well."""
    known = ("crdkit", Path(__file__).resolve().parents[1].name)
    return script.name == "__main__.py" and script.parent.name in known


def _parent() -> list[str]:
    """The launcher's own command line."""
    import psutil

    try:
        return psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return []


def without(arguments: Sequence[str], flag: str) -> list[str]:
    """The arguments without a flag and its value."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == flag:
            next(words, None)
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return kept
