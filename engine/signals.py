"""Signals that end a training in good order."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import cache
from pathlib import Path
from types import FrameType, TracebackType

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

# Launchers forward Ctrl-C to ranks that the terminal has told already: not a second key press.
SAME_KEY_PRESS = 1.0

LOOK = 0.5
"""Seconds between two looks whether the launcher is alive."""

LAUNCHER_VARIABLES = ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")


def launcher() -> int | None:
    """The process that started this one as a rank; None if nobody did."""
    return os.getppid() if any(name in os.environ for name in LAUNCHER_VARIABLES) else None


@cache
def end_with_launcher() -> None:
    """From now on the death of the launcher is a SIGTERM to this process, whatever it waits for.

    Ranks that look for one another would otherwise wait for half an hour for what died with it.
    """
    parent = launcher()

    def watch() -> None:
        while os.getppid() == parent and not _is_reaper(parent):
            time.sleep(LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    if parent is not None:
        threading.Thread(target=watch, daemon=True, name="launcher").start()


def _is_reaper(number: int) -> bool:
    """Whether a process is one that orphans are left to, and no launcher: ours was dead before we looked."""
    try:
        place = Path(f"/proc/{number}")
        return (number == 1 or place.joinpath("comm").read_text().strip() == "systemd") and (
            b"python" not in place.joinpath("cmdline").read_bytes()
        )
    except OSError:
        return False


class StopSignals:
    """Remembers SIGTERM, SIGINT and SIGUSR1 instead of dying from them.

    A second Ctrl-C raises `KeyboardInterrupt` at once; under a launcher, which repeats the first one, only if
    it comes later than that. The death of the launcher that started the process
    counts as SIGTERM, as `accelerate launch` does not forward that and would leave an orphan.
    In a thread other than the main one nothing is installed, since python allows it there only.
    """

    def __init__(self) -> None:
        self._received = 0
        self._time = 0.0
        self._former: dict[signal.Signals, object] = {}
        self._launcher = launcher()

    @property
    def received(self) -> int:
        """The number of the first signal, 0 for none."""
        if not self._received and self._launcher is not None and os.getppid() != self._launcher:
            return int(signal.SIGTERM)
        return self._received

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for signum in HANDLED:
                self._former[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, former in self._former.items():
            signal.signal(signum, former)  # type: ignore[arg-type]

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._received:
            self._received, self._time = signum, now
        elif signum == signal.SIGINT and (self._launcher is None or now - self._time > SAME_KEY_PRESS):
            raise KeyboardInterrupt


def ignore_interrupts(worker: int) -> None:
    """For data workers: Ctrl-C reaches the whole process group, but the training process decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
