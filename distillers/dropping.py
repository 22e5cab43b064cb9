"""Teacher dropping: each sample learns most from the teacher that it matches worst."""

import torch
from torch import Tensor

from ..common import UserError
from .ops import full_precision


@torch.no_grad()
def keep_teachers(losses: Tensor, *, drop: float = 0.5, draws: Tensor | None = None) -> Tensor:
    """Which teachers teach each sample, (N, B) bool: the one of the largest loss always, each other one with
    probability 1 − drop.

    So no teacher that is easy to match takes the place of a hard one. Sariyildiz et al., UNIC: Universal
    Classification Models via Multi-teacher Distillation, 2024.

    Args:
        losses: of N teachers for each sample, (N, B).
        drop: probability, in [0, 1].
        draws: (N, B), uniform in [0, 1); drawn from the device's global generator if absent.

    Raises:
        ValueError: other shapes, or a probability out of range.
    """
    if not 0 <= drop <= 1:
        raise UserError(f"drop must be in [0, 1], got {drop}")
    if losses.ndim != 2 or (draws is not None and draws.shape != losses.shape):
        shapes = tuple(losses.shape), None if draws is None else tuple(draws.shape)
        raise UserError(f"losses and draws must be (N, B), got {shapes[0]} and {shapes[1]}")
    kept = (torch.rand_like(losses) if draws is None else draws) >= drop
    return kept.scatter(0, losses.argmax(0, keepdim=True), True)


@full_precision
def mean_of_kept(losses: Tensor, kept: Tensor) -> Tensor:
    """The mean of the losses (N, B) where `kept`, (N, B) bool, is True; a scalar."""
    return losses.where(kept, 0).sum() / kept.sum()
