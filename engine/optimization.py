"""The optimizer of a training, and its learning rate as a pure function of the step."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from ..common import UserError
from .config import TrainConfig

OptimizerFactory = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""Trainable parameters -> their optimizer; `torch.optim.AdamW` is one."""

Schedule = Callable[[int, int], float]
"""(optimizer steps done, steps in all) -> the factor on the learning rate."""

ONECYCLE_RISE = 0.3
ONECYCLE_START = 1 / 25
ONECYCLE_END = ONECYCLE_START / 1e4


def make_optimizer(
    config: TrainConfig, parameters: Iterable[nn.Parameter], factory: OptimizerFactory | None = None
) -> torch.optim.Optimizer:
    """The optimizer of the configuration, or the caller's own, over what requires a gradient."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if factory is not None:
        return factory(trainable)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(trainable, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        trainable,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


def lr_factor(step: int, *, config: TrainConfig, steps_per_epoch: int) -> float:
    """The factor on `config.lr` for an optimizer step.

    - constant: 1.
    - step: gamma^(milestones passed).
    - cosine: from 1 towards 0 over the steps after the warm-up (Loshchilov & Hutter, 2017).
    - onecycle: 1/25 up to 1 over the first 30 %, down to 1/250,000, both by cosine (Smith & Topin, 2018);
      the rate only, the momentum stays.

    In a warm-up of n steps, step i has the factor (i + 1) / n for every schedule but onecycle.

    Args:
        step: optimizer steps done before, from 0.
        config: the schedule and its settings.
        steps_per_epoch: optimizer steps in an epoch.
    """
    total = config.epochs * steps_per_epoch
    if not 0 <= step < total:
        raise UserError(f"step must be in [0, {total}), got {step}")
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "step":
        passed = sum(step >= milestone * steps_per_epoch for milestone in config.milestones)
        return config.gamma**passed
    if config.schedule == "cosine":
        return _cosine(1.0, 0.0, (step - warmup) / (total - warmup))
    if config.schedule == "onecycle":
        top = max(ONECYCLE_RISE * total - 1, 0.0)
        if step <= top:
            return _cosine(ONECYCLE_START, 1.0, step / top if top > 0 else 1.0)
        return _cosine(1.0, ONECYCLE_END, (step - top) / (total - 1 - top))
    return 1.0


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))


def names_of(optimizer: OptimizerFactory | None, schedule: Schedule | None) -> dict[str, str]:
    """By what an optimizer and a schedule of the caller's are known on resume: their names."""
    named = {"optimizer": optimizer, "schedule": schedule}
    return {name: getattr(own, "__qualname__", str(own)) for name, own in named.items() if own is not None}
