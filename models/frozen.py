"""A network that cannot learn: teachers, and encoders under a probe."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Inside, the modules are in eval mode. Every part gets its own mode back, also after an error: a network
    whose head alone trained leaves as it came."""
    training = {part: part.training for module in modules for part in module.modules()}
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, mode in training.items():
            part.training = mode


def freeze(module: nn.Module) -> nn.Module:
    """The module itself, in eval mode and without gradients, those left over included."""
    # An optimizer steps on a gradient that is left over, whatever `requires_grad` says.
    module.zero_grad(set_to_none=True)
    return module.requires_grad_(False).eval()


class Frozen(nn.Module):
    """Wraps a module so that training cannot change one bit of it.

    Its parameters take no gradient, its forward builds no graph, and it stays in eval mode whatever a parent
    asks for: `parent.train()` would otherwise let batch-norm statistics drift.

    Args:
        module: the network to freeze; it is kept, not copied, as `self.module`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = freeze(module)
        self.eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Stays in eval mode, also for `mode=True`."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own outputs, without a graph."""
        if _in_training(self.module):
            self.module.eval()  # somebody holding the module itself had switched it back
        return self.module(*args, **kwargs)


def _in_training(module: nn.Module) -> bool:
    """Whether any part is. Asked in every forward, so without `modules()`, which looks for parts that occur
    twice."""
    parts = [module]
    for part in parts:
        if part.training:
            return True
        if part._modules:
            parts += [inner for inner in part._modules.values() if inner is not None]
    return False
