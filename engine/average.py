"""The exponential moving average of the weights of a training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..common import UserError
from .files import tensors_of


class WeightAverage:
    """The moving average of a module's weights over the steps of its training.

    After step t it is Σᵢ dᵗ⁻ⁱ·wᵢ / Σᵢ dᵗ⁻ⁱ of the weights w₁ … w_t: the exponential moving average with the
    decay d (Tarvainen & Valpola, 2017), without the bias of a start that the sum has not forgotten, as in
    Kingma & Ba, 2015, Algorithm 1. Floating-point buffers, such as the running statistics of batch norm, are
    averaged as the weights are; whole numbers are copied.

    The state is `tensors`, by the names of the module's `state_dict`: checkpoints have it, and all ranks hold
    the main process's from the end of every epoch on.

    Args:
        module: whose weights; as `Task.module`.
        decay: d, in (0, 1).

    Raises:
        ValueError: another decay.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise UserError(f"the decay of an average (ema) must be in (0, 1), got {decay}")
        self.module, self.decay = module, decay
        self.tensors: dict[str, Tensor] = {}
        self.is_applied = False
        """Whether the module holds the average now."""
        self._weights: list[Tensor] = []

    def start(self) -> None:
        """Begin with the weights that the module has, on its device."""
        state = tensors_of(self.module, "module")
        self._weights = [value.detach() for value in state.values()]
        self.tensors = {name: value.detach().clone() for name, value in state.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin with an average that was saved.

        Raises:
            KeyError, RuntimeError: names or shapes are not the module's.
        """
        self.start()
        _copy(tensors, self.tensors)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1; the host waits for no device."""
        pairs = list(zip(self.tensors.values(), self._weights, strict=True))
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        share = (1 - self.decay) / (1 - self.decay**step)
        torch._foreach_lerp_([mean for mean, _ in moving], [weight for _, weight in moving], share)
        for mean, weight in pairs:
            if not mean.is_floating_point():
                mean.copy_(weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module has the average for its weights; afterwards its own again, bit for bit."""
        weights = {name: value.detach() for name, value in tensors_of(self.module, "module").items()}
        own = {name: weight.clone() for name, weight in weights.items()}
        _copy(self.tensors, weights)
        self.is_applied = True
        try:
            yield
        finally:
            _copy(own, weights)
            self.is_applied = False


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, value in target.items():
        value.copy_(source[name])
