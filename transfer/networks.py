"""Networks of a pipeline: by name, behind the normalization of their modality, or a caller's own."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import nn

from ..common import UserError
from ..data import Normalize, Statistics, rank_and_ranks
from ..models import LoadedWeights, Normalized, create, find_preprocessing, open_weights

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
    weights: str | LoadedWeights | None = None,
    new_head: bool | None = None,
    normalization: str = "own",
    layers: Sequence[int | str] | None = None,
) -> Normalized:
    """A network by its name for a modality, its weights fresh or read.

    Args:
        name, num_classes, weights, new_head, layers: as for `crdkit.models.create`, whose errors it raises.
        statistics: of the modality on the training split.
        normalization: as in `TeachersConfig`.
    """
    loaded = open_weights(name, weights) if isinstance(weights, str) else weights
    network = create(
        name,
        num_classes=num_classes,
        in_channels=len(statistics.mean[modality]),
        weights=loaded,
        new_head=new_head,
        layers=layers,
        bare=True,
    )
    chosen = normalize_by(normalization, statistics, modality, network=name, weights=loaded)
    return with_normalization(network, chosen, modality)


def normalize_by(
    normalization: str,
    statistics: Statistics,
    modality: str,
    *,
    network: str = "",
    weights: str | LoadedWeights | None = None,
) -> Statistics:
    """The mean and the deviation that a setting names, for one modality.

    Args:
        normalization: as in `TeachersConfig`.
        statistics: of the modality on the training split.
        network, weights: a name and weights of `crdkit.models.create`, for `own`; what `open_weights` read is
            not read again.

    Raises:
        ValueError: neither a known name nor numbers, or numbers for other channels.
    """
    if normalization == "own":
        return statistics if weights is None else _own(network, weights, statistics, modality)
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
            known = ", ".join(("own", "data", "none", *NORMALIZATIONS))
            raise UserError(
                f"normalization must be one of {known}, or MEAN,…/STD,… such as 0.5,0.5,0.5/0.2,0.2,0.2; got "
                f"{normalization!r}"
            ) from None
    if len(mean) != channels or len(std) != channels:
        raise UserError(
            f"normalization {normalization!r} has {len(mean)} and {len(std)} channels, "
            f"{modality} has {channels}"
        )
    return Statistics(mean={modality: mean}, std={modality: std})


def _own(network: str, weights: str | LoadedWeights, statistics: Statistics, modality: str) -> Statistics:
    """What weights were made with if anything says so and it is of such a modality, else of the data."""
    found = find_preprocessing(network, weights)
    if found is None:
        return statistics
    source = weights.weights if isinstance(weights, LoadedWeights) else weights
    who = f"{network} with {source}: {modality}"
    channels = len(statistics.mean[modality])
    if len(found.mean) != channels or found.modality not in (None, modality):
        _tell(
            f"{who} is normalized by the statistics of the data, as the weights' own are of "
            f"{found.modality or f'{len(found.mean)} channels'}"
        )
        return statistics
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (found.mean, found.std))
    _tell(f"{who} is normalized by mean {mean} and deviation {std}, from {found.source}")
    return Statistics(mean={modality: found.mean}, std={modality: found.std})


@cache
def _tell(line: str) -> None:
    """Print a line once, on the main process: a teacher is built for the dry steps, too."""
    if rank_and_ranks()[0] == 0:
        print(line, flush=True)
