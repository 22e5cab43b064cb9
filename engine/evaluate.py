"""What is measured of the module while it trains."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..models import evaluating
from .errors import TaskError
from .peers import Peers
from .rng import isolated_rng

Evaluate = Callable[[nn.Module], dict[str, float]]
"""The trained module, in eval mode -> values for the history; called on every process."""


def measure(
    evaluate: Evaluate, module: nn.Module, peers: Peers, device: torch.device, *, taken: set[str]
) -> dict[str, float]:
    """The main process's values. Modes and random number generators are afterwards as they were.

    The module computes in fp32 whatever it trains in: as it is when it is taken home.
    """
    with evaluating(module), _own_forward(module), isolated_rng(device):
        metrics = {name: float(value) for name, value in evaluate(module).items()}
    if clash := sorted(taken & set(metrics)):
        raise TaskError(f"evaluate returned {clash[0]!r}, a name that the history has already")
    values = torch.tensor(list(metrics.values()), dtype=torch.float64)
    return dict(zip(metrics, peers.gather({"values": values})[0]["values"].tolist(), strict=True))


@contextmanager
def _own_forward(module: nn.Module) -> Iterator[None]:
    """Inside, the forward of the module's class in the place of the accelerator's, which has autocast."""
    prepared = vars(module).pop("forward", None)
    try:
        yield
    finally:
        if prepared is not None:
            module.forward = prepared
