"""The training of a second that these tests run, also in processes of their own."""

import multiprocessing
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

# Child processes unpickle what they run by the name of its module.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts processes in milliseconds: forks of a server that has imported torch and the engine."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crdkit.engine"])
    return context
