"""Errors of the engine, written for the person at the prompt: what was wrong, where, and what to do."""

import signal

from ..common import CrdkitError, OutputError, ResumeError  # noqa: F401 - errors of the engine, too


class TaskError(CrdkitError):
    """The task breaks the engine's contract: a term without a weight, a shared or frozen parameter."""


class LaunchError(CrdkitError):
    """The launcher asks for something that the engine or the device cannot do."""


class CheckpointError(CrdkitError):
    """A checkpoint or a result could not be written, or none that exists is whole."""


class NotKeptError(ResumeError):
    """A training is finished, and its weights were deleted since, as was asked for."""


class NonFiniteError(CrdkitError):
    """A loss term or a tensor to be saved holds NaN or infinity."""


class FrozenError(CrdkitError):
    """A frozen network was changed during training."""


class RanksError(CrdkitError):
    """The processes of one training do not hold the same."""


class WorkerError(CrdkitError):
    """A data worker died, or the data set raised in one."""


class Interrupted(SystemExit):
    """A signal ended the training after its step was finished and saved.

    As a `SystemExit` it ends the process with the exit code 128 + the signal's number
    (SIGINT 130, SIGUSR1 138, SIGTERM 143) if nobody catches it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signal = signal.Signals(signum)

    def __str__(self) -> str:
        return f"stopped by {self.signal.name} (exit code {self.code})"
