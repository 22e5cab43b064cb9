"""The optimizer of a training."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from .config import TrainConfig

OptimizerFactory = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""Trainable parameters -> their optimizer; `torch.optim.AdamW` is one."""


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
        trainable, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )  # fmt: skip
