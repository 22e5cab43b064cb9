"""The optimizer of a configuration."""

from collections.abc import Iterable

import torch
from torch import nn

from .config import TrainConfig


def make_optimizer(config: TrainConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of the configuration over the parameters that require a gradient."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(trainable, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        trainable,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )
