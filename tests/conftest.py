"""Settings and fixtures of the whole test suite."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests measure and train tiny things: threads cost more than they bring, and the order of a sum over
# several threads is not fixed. To be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same figures on every processor.
os.environ.setdefault("CRDKIT_PRECISION", "no")
# Nothing that a test decodes is kept in the user's cache folder.
os.environ.setdefault("CRDKIT_DECODED", "0")

REFERENCE = Path(__file__).resolve().parent / "reference"


def pytest_configure() -> None:
    """Give Ctrl-C back its meaning: a shell that starts pytest in the background has it ignored, for all
    children too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of real data where no folder of it is named."""
    if os.environ.get("CRDKIT_DATA"):
        return
    skip = pytest.mark.skip(reason="CRDKIT_DATA names no folder with the packed real data sets")
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of packed real data sets, from CRDKIT_DATA."""
    folder = Path(os.environ["CRDKIT_DATA"])
    if not folder.is_dir():
        pytest.fail(f"CRDKIT_DATA names {folder}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of small reference files."""
    return REFERENCE


@pytest.fixture(autouse=True)
def reproducible() -> Iterator[None]:
    """Every test starts from the same seed, and leaves the global generator as it found it."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
