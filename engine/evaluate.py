"""What is measured of the module while it trains."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..models import evaluating
from .errors import TaskError
from .peers import Peers
from .rng import isolated_rng
from .task import Task

Evaluate = Callable[[nn.Module], dict[str, float]]
"""The trained module, in eval mode -> values for the history; called on every process."""


AVERAGED = "ema_"
"""Before the names of what is measured of the averaged weights (`Task.average`)."""


def measure(
    evaluate: Evaluate, task: Task, peers: Peers, device: torch.device, *, taken: set[str]
) -> dict[str, float]:
    """The main process's values, of the last weights and, as `ema_…`, of the averaged ones. Modes and random
    number generators are afterwards as they were.

    The module computes in fp32 whatever it trains in: as it is when it is taken home.
    """
    metrics = _measure(evaluate, task.module, device)
    if task.average is not None:
        with task.average.applied():
            averaged = _measure(evaluate, task.module, device)
        metrics |= {AVERAGED + name: value for name, value in averaged.items()}
    if clash := sorted(taken & set(metrics)):
        raise TaskError(f"evaluate returned {clash[0]!r}, a name that the history has already")
    values = torch.tensor(list(metrics.values()), dtype=torch.float64)
    return dict(zip(metrics, peers.gather({"values": values})[0]["values"].tolist(), strict=True))


def _measure(evaluate: Evaluate, module: nn.Module, device: torch.device) -> dict[str, float]:
    with evaluating(module), _own_forward(module), isolated_rng(device):
        return {name: float(value) for name, value in evaluate(module).items()}


@contextmanager
def _own_forward(module: nn.Module) -> Iterator[None]:
    """Inside, the forward of the module's class in the place of the accelerator's, which has autocast."""
    prepared = vars(module).pop("forward", None)
    try:
        yield
    finally:
        if prepared is not None:
            module.forward = prepared
