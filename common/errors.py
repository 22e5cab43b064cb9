"""Errors that a command prints as one message: what was wrong, where, and what to do."""


class CrdkitError(Exception):
    """Base of the errors that a script prints without a stack trace."""


class UserError(ValueError):
    """A value that the caller can correct: a setting, an argument, a file's contents.

    Commands print it as one line; every other `ValueError` is a fault of the program and keeps its traceback.
    """


class OutputError(CrdkitError):
    """A folder or a file cannot be written: read-only, no space, not a folder."""


class ManifestError(CrdkitError):
    """A folder's files are not what its manifest lists; the message names the file."""


class ResumeError(CrdkitError):
    """A folder was made with other settings; the message lists the differences.

    Args:
        what: the message.
        advice: its last line, for whoever wanted to go on in that folder.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what}\n{advice}" if advice else what)
        self.what = what
