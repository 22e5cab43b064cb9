"""Random number generators: derived seeds, and their states as tensors."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def derive_seed(*key: int | str) -> int:
    """A seed in [0, 2^63) from any key, such as ("order", seed, epoch); near keys give unrelated seeds."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def seed_all(seed: int) -> None:
    """Seed the global generators of torch (all devices), numpy and python."""
    torch.manual_seed(seed)
    seed_host(seed)


def seed_host(seed: int) -> None:
    """Seed the global generators of torch on the CPU, numpy and python; those of other devices stay."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """The states of the global generators (torch, the device's, numpy, python) as tensors on the CPU."""
    numpy_state = np.random.get_state(legacy=False)
    _, words, second = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy.keys": torch.tensor(np.asarray(numpy_state["state"]["key"]).astype(np.int64)),
        "numpy.rest": torch.tensor(
            [numpy_state["state"]["pos"], numpy_state["has_gauss"], numpy_state["gauss"]], dtype=torch.float64
        ),
        "python.keys": torch.tensor(words, dtype=torch.int64),
        "python.rest": torch.tensor([] if second is None else [second], dtype=torch.float64),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_rng(state: dict[str, Tensor], device: torch.device) -> None:
    """Put the global generators back into a state of `rng_state`."""
    torch.set_rng_state(state["torch"])
    position, has_gauss, gauss = state["numpy.rest"].tolist()
    keys = state["numpy.keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), gauss))
    second = next(iter(state["python.rest"].tolist()), None)
    random.setstate((3, tuple(state["python.keys"].tolist()), second))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextmanager
def isolated_rng(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside leaves the global generators as they were."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)
