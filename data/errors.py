"""The error of data that cannot be used; imports no torch, so that settings may raise it."""

from ..common import UserError


class DataError(UserError):
    """Data that cannot be used. The message says what is wrong, in which file and sample, and what to do."""
