"""The optimizer of a training, and its learning rate as a pure function of the step."""

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

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
        return without_compiler(torch.optim.AdamW)(trainable, lr=config.lr, weight_decay=config.weight_decay)
    return without_compiler(torch.optim.SGD)(
        trainable,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


WRAPPERS = {
    "step": ("_use_grad", "wrapper"),
    **dict.fromkeys(("add_param_group", "zero_grad", "state_dict", "load_state_dict"), ("inner",)),
}
"""Methods of torch's optimizers and what torch wraps them in, so that an optimizer within a compiled function
stays out of it: each imports torch._dynamo when it is called, 1.5 s before the first step. (`wrapper` is the
profiler's, which every optimizer puts on again.)"""


@cache
def without_compiler(kind: Any) -> Any:
    """A class of torch's optimizers with these methods unwrapped, which takes the same steps; the class
    itself if any of them is wrapped in something else."""
    bare: dict[str, Any] = {}
    for name, known in WRAPPERS.items():
        method = getattr(kind, name)
        while (inner := getattr(method, "__wrapped__", None)) is not None:
            if method.__code__.co_name not in known:
                return kind
            method = inner
        bare[name] = method
    bare["step"] = torch.no_grad()(bare["step"])  # the other half of what `_use_grad` does
    return type(kind.__name__, (kind,), {**bare, "__module__": kind.__module__})


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
