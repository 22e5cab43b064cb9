"""What the ranks of one training know of each other without asking."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_EQUAL = ContextVar("equal", default=False)


@contextmanager
def equal_rows(equal: bool = True) -> Iterator[None]:
    """Inside, all ranks gather equally many rows, as a sampler may promise: none asks the others, and no host
    waits for its GPU. With False they ask, whatever was said outside."""
    token = _EQUAL.set(equal)
    try:
        yield
    finally:
        _EQUAL.reset(token)


def are_rows_equal() -> bool:
    """Whether this is inside `equal_rows`."""
    return _EQUAL.get()
