"""Errors of the engine, written for the person at the prompt: what was wrong, where, and what to do."""

from __future__ import annotations

import signal


class CrdkitError(Exception):
    """Base of the errors that a script prints as one message, without a stack trace."""


class TaskError(CrdkitError):
    """The task breaks the engine's contract: a term without a weight, a shared or frozen parameter."""


class OutputError(CrdkitError):
    """The run folder cannot be written: read-only, no space, not a folder."""


class CheckpointError(CrdkitError):
    """A checkpoint could not be written, or none that exists is whole."""


class ResumeError(CrdkitError):
    """The run folder belongs to a training with another configuration."""


class NonFiniteError(CrdkitError):
    """A loss term or a tensor to be saved holds NaN or infinity."""


class FrozenError(CrdkitError):
    """A frozen network was changed during training."""


class WorkerError(CrdkitError):
    """A data worker died, or the data set raised in one."""


class Interrupted(SystemExit):
    """A signal ended the training after its step was finished and saved.

    As a `SystemExit` it ends the process with the exit code 128 + the signal's number
    (SIGINT 130, SIGUSR1 138, SIGTERM 143) where nobody catches it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signal = signal.Signals(signum)

    def __str__(self) -> str:
        return f"stopped by {self.signal.name} (exit code {self.code})"
