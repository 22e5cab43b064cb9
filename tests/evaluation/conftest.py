"""Two ranks that judge their shares, once for all tests of the room."""

from typing import Any

import pytest
import torch.multiprocessing as mp
from counting import rank


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What `counting.rank` sends back from each of two processes."""
    store = tmp_path_factory.mktemp("ranks") / "store"
    context = mp.get_context("spawn")
    receivers, processes = [], []
    for number in range(2):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=rank, args=(number, str(store), sender))
        process.start()
        receivers.append(receiver)
        processes.append(process)
    found = [receiver.recv() if receiver.poll(900) else {} for receiver in receivers]
    for process in processes:
        process.join()
    return found
