"""The error of data that cannot be used; imports no torch, so that settings may raise it."""


class DataError(ValueError):
    """Data that cannot be used. The message says what is wrong, in which file and sample, and what to do."""
