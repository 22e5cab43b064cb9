"""The published checkpoints of the CIFAR-100 distillation benchmark."""

import os
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn

from .cifar import NETWORKS
from .names import fit_names, is_counter
from .normalized import require_bare
from .surgery import Ends, find_ends
from .weights import load_state, open_file


def load_repdistiller(path: str | os.PathLike[str]) -> nn.Module:
    """Loads a checkpoint of RepDistiller (Tian et al., 2020), whichever network it holds.

    The network is recognized by the names and shapes of its parameters, the number of classes by the last
    layer. Files of `create`'s CIFAR networks are taken, too, but for those that hold a normalization, as a
    run's students do: `crdkit.load` loads them.

    Args:
        path: a `.pth` file with the weights under "model", beside the epoch and the accuracy, or another that
            `read_weights` and `load_state` take. It is read without running code.

    Returns:
        The network in eval mode, on the CPU; it returns `Outputs`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read safely, holds a normalization, or holds another network: the
            nearest are named, and what differs from the first of them.
    """
    loaded = open_file(path)
    state = loaded.state
    require_bare(state, loaded.description, str(path))
    with torch.random.fork_rng(devices=[]):  # what is drawn here is overwritten by the file
        misfits = {
            name: len(_shapes(own, ends).items() ^ _shapes(fit_names(state, own).state, ends).items())
            for name, (own, ends) in _published().items()
        }
        nearest = sorted(NETWORKS, key=lambda name: misfits[name])
        network = _build(nearest[0], state)
    source = str(path)
    if misfits[nearest[0]]:
        near = ", ".join(nearest[:3])
        source += f" is none of the {len(NETWORKS)} published networks (nearest: {near}) and"
    load_state(network, state, source=source)
    return network.eval()


@cache
def _published() -> dict[str, tuple[dict[str, Tensor], Ends]]:
    """The states of the networks, without storage, and their ends."""
    with torch.device("meta"):
        networks = {name: make() for name, make in NETWORKS.items()}
    return {name: (network.state_dict(), find_ends(network)) for name, network in networks.items()}


def _shapes(state: Mapping[str, Tensor], ends: Ends) -> dict[str, tuple[int, ...]]:
    """Names and shapes of weights, without the axes of the input channels and of the classes."""
    free = {f"{ends.stems[0]}.weight": 1, f"{ends.head}.weight": 0, f"{ends.head}.bias": 0}
    return {
        name: tuple(length for axis, length in enumerate(tensor.shape) if axis != free.get(name))
        for name, tensor in state.items()
        if not is_counter(name)
    }


def _build(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """The named network with the input channels and the classes of the state."""
    own, ends = _published()[name]
    state = fit_names(state, own).state
    stem, head = state.get(f"{ends.stems[0]}.weight"), state.get(f"{ends.head}.weight")
    return NETWORKS[name](
        num_classes=100 if head is None or head.ndim != 2 else head.shape[0],
        in_channels=3 if stem is None or stem.ndim != 4 else stem.shape[1],
    )
