"""Networks of a pipeline: by name, behind the normalization of their modality, or a caller's own."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import torch
from torch import nn

from ..data import Normalize, Statistics
from ..engine import OptimizerFactory, Schedule
from ..models import Normalized, create
from .targets import Teacher

Network = nn.Module | Callable[[], nn.Module]
"""A network, or what makes one: its weights are drawn anew for each seed."""


class Own(TypedDict, total=False):
    """What a caller hands in, in the place of what is configured."""

    student: Network
    """Returns `Outputs` for the student's modality in its own units; a module is copied for each run, a
    function called for each."""
    teachers: Sequence[Teacher | nn.Module]
    """A bare module sees `rgb`."""
    optimizer: OptimizerFactory
    """Trainable parameters -> the student's optimizer."""
    schedule: Schedule
    """(step, steps in all) -> factor on its learning rate."""


NORMALIZATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and deviation of each channel of RGB that published weights were made with."""


def with_normalization(network: nn.Module, statistics: Statistics, modality: str) -> Normalized:
    """A network behind the normalization of its modality, in the memory format that suits convolutions."""
    # Channels last halves the time of a step on a CPU.
    return Normalized(Normalize(statistics, modality), network).to(memory_format=torch.channels_last)


def make_network(
    name: str,
    modality: str,
    statistics: Statistics,
    *,
    num_classes: int | None,
    weights: str | None = None,
    new_head: bool = True,
    normalization: str = "data",
) -> Normalized:
    """A network by its name for a modality, its weights fresh or read.

    Args:
        name, num_classes, weights, new_head: as for `crdkit.models.create`, whose errors it raises.
        statistics: of the modality on the training split.
        normalization: as in `TeachersConfig`.
    """
    channels = len(statistics.mean[modality])
    network = create(name, num_classes=num_classes, in_channels=channels, weights=weights, new_head=new_head)
    return with_normalization(network, normalize_by(normalization, statistics, modality), modality)


def normalize_by(normalization: str, statistics: Statistics, modality: str) -> Statistics:
    """The mean and the deviation that a setting names, for one modality.

    Raises:
        ValueError: neither a known name nor numbers, or numbers for other channels.
    """
    if normalization == "data":
        return statistics
    channels = len(statistics.mean[modality])
    if normalization == "none":
        mean, std = (0.0,) * channels, (1.0,) * channels
    elif normalization in NORMALIZATIONS:
        mean, std = NORMALIZATIONS[normalization]
    else:
        try:
            mean, std = (tuple(map(float, part.split(","))) for part in normalization.split("/"))
        except ValueError:
            known = ", ".join(("data", "none", *NORMALIZATIONS))
            raise ValueError(
                f"normalization must be one of {known}, or MEAN,…/STD,… such as 0.5,0.5,0.5/0.2,0.2,0.2; got "
                f"{normalization!r}"
            ) from None
    if len(mean) != channels or len(std) != channels:
        raise ValueError(
            f"normalization {normalization!r} has {len(mean)} and {len(std)} channels, "
            f"{modality} has {channels}"
        )
    return Statistics(mean={modality: mean}, std={modality: std})


def classifier_of(network: nn.Module) -> nn.Linear | None:
    """A network's last linear layer, which makes logits of the embedding."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return layers[-1] if layers else None
