"""How the input of published or saved weights was normalized."""

import os
import warnings
from typing import NamedTuple

from . import timm_networks, torchvision_networks
from .cifar import NETWORKS
from .description import read_description
from .normalized import is_normalization
from .weights import is_file_name, read_weights


class Preprocessing(NamedTuple):
    """The normalization that weights were made with, (x − mean) / std.

    Attributes:
        mean: of each channel; images in [0, 1] if it is not of the weights' own file.
        std: the deviation of each channel.
        source: who says so.
        modality: what it is for; None if the source does not say.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    modality: str | None = None


def saved_preprocessing(path: str | os.PathLike[str]) -> Preprocessing | None:
    """What a file says of its normalization: in its description, or as the buffers that every `Normalized`
    network has; None for others.

    Raises:
        FileNotFoundError, ValueError: see `read_weights`.
    """
    state, described = read_weights(path), read_description(path)
    if described is not None and described.mean is not None and described.std is not None:
        return Preprocessing(described.mean, described.std, os.fspath(path), described.modality)
    figures = {name.rpartition(".")[2]: state[name] for name in state if is_normalization(name)}
    if figures.keys() == {"mean", "std"}:
        mean, std = (tuple(figures[kind].flatten().tolist()) for kind in ("mean", "std"))
        return Preprocessing(mean, std, os.fspath(path))
    return None


def find_preprocessing(name: str, weights: str | os.PathLike[str]) -> Preprocessing | None:
    """The normalization that belongs to weights.

    In this order: what the file itself holds, see `saved_preprocessing`; of torchvision's networks what
    torchvision says of the published weights, by their name or the name of the published file; of timm's
    networks their `pretrained_cfg`, for files, too.

    Args:
        name, weights: as for `create`.

    Returns:
        None if nothing says so. A warning says it, but for the CIFAR networks, which are normalized by the
        statistics of their data by convention.

    Raises:
        FileNotFoundError, ValueError: see `create`.
    """
    source = os.fspath(weights)
    saved = saved_preprocessing(weights) if is_file_name(weights) else None
    if saved is not None:
        return saved
    library, _, bare = name.rpartition("/")
    if library == "" and name in NETWORKS:
        return None
    if library == "timm":
        facts = timm_networks.describe(bare, "imagenet" if is_file_name(weights) else source)
        if facts is not None:
            return Preprocessing(
                tuple(facts.mean), tuple(facts.std), f"timm's pretrained_cfg of {bare}", "rgb"
            )
    elif bare in torchvision_networks.names():
        entry = torchvision_networks.describe(bare, source)
        if entry is not None:
            made = entry.transforms()
            return Preprocessing(tuple(made.mean), tuple(made.std), f"torchvision's {entry}", "rgb")
    warnings.warn(
        f"neither {source} nor {name} says how the input of these weights was normalized; name it if the "
        "statistics of these data are not the right ones",
        stacklevel=2,
    )
    return None
