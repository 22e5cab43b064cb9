"""Errors of a command: one line for those that the user can correct, a traceback for the program's."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from crdkit.common import CrdkitError, UserError

from .invocation import command_line, is_main_rank, shows_traceback

USAGE, DATA = 2, 1
"""Exit codes: what was typed cannot be, or what is on the disk or in the data does not allow it."""


class Refused(SystemExit):
    """The end of a command that cannot do what was asked; its message is printed.

    Args:
        name: name of the command.
        error: the message, or the error, whose traceback is printed first if `shows_traceback()`.
        code: the exit code.
        every_rank: whether all ranks print, because the error may have happened on one of them only; else the
            first one does.
    """

    def __init__(self, name: str, error: object, code: int, *, every_rank: bool = False) -> None:
        super().__init__(code)
        self.message = f"crdkit {name}: {error}"
        if every_rank or is_main_rank():
            sys.stdout.flush()
            if isinstance(error, BaseException) and shows_traceback():
                traceback.print_exception(error)
            print(self.message, file=sys.stderr, flush=True)

    def __str__(self) -> str:
        return self.message


@contextmanager
def usage(name: str) -> Iterator[None]:
    """End the process with a message if the body raises an error of the user's.

    The exit code is 2 for what was typed (`UserError`), 1 for missing files and unusable data. Any other
    exception passes with the command line that repeats it as its note.
    """
    from crdkit.data import DataError

    with _noted():
        try:
            yield
        except (CrdkitError, OSError, DataError) as error:
            raise Refused(name, error, DATA) from None
        except UserError as error:
            raise Refused(name, error, USAGE) from None


@contextmanager
def errors_as_messages(name: str) -> Iterator[None]:
    """End the process with a message and exit code 1 if the body raises an error that the user can correct.

    Any other exception passes, with the command line that repeats it as its note.
    """
    with _noted():
        try:
            yield
        except (CrdkitError, OSError, UserError) as error:
            raise Refused(name, error, DATA, every_rank=True) from None


@contextmanager
def _noted() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"repeat with: {command_line()}")
        raise
