"""Signals that end a training in good order."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType

HANDLED = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
"""Signals that end a training; Windows has no SIGUSR1."""

# Launchers forward Ctrl-C to ranks that the terminal has told already: not a second key press.
SAME_KEY_PRESS = 1.0

LAUNCHER_VARIABLES = ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")


def launcher() -> int | None:
    """The process that started this one as a rank; None if nobody did."""
    return os.getppid() if any(name in os.environ for name in LAUNCHER_VARIABLES) else None


class StopSignals:
    """Remember SIGTERM, SIGINT and SIGUSR1 instead of dying from them; the handlers before return at the end.

    A second Ctrl-C raises `KeyboardInterrupt` at once; under a launcher, which repeats the first one, only if
    it comes more than `SAME_KEY_PRESS` seconds later. The launcher's death counts as SIGTERM, because
    `accelerate launch` does not forward it and would leave an orphan. In a thread other than the main one no
    handler is installed, because Python allows it only there.
    """

    def __init__(self) -> None:
        self._received = 0
        self._time = 0.0
        self._previous: dict[signal.Signals, object] = {}
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
                self._previous[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, previous in self._previous.items():
            signal.signal(signum, previous)  # type: ignore[arg-type]

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._received:
            self._received, self._time = signum, now
        elif signum == signal.SIGINT and (self._launcher is None or now - self._time > SAME_KEY_PRESS):
            raise KeyboardInterrupt


def ignore_interrupts(worker: int) -> None:
    """For data workers: Ctrl-C reaches the whole process group, but the training process decides."""
    for signum in set(HANDLED) - {signal.SIGTERM}:
        signal.signal(signum, signal.SIG_IGN)
