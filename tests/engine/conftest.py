"""The training of a second that these tests run, also in processes of their own."""

import multiprocessing
from multiprocessing.context import ForkServerContext

import pytest


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts processes in milliseconds: forks of a server that has imported torch and the engine."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crdkit.engine"])
    return context
