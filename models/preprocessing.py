"""How the input of published or saved weights was normalized."""

import os
import warnings
from typing import NamedTuple

from . import timm_networks, torchvision_networks
from .cifar import NETWORKS
from .normalized import is_normalization
from .weights import LoadedWeights, is_file_name, open_file


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


def saved_preprocessing(weights: str | os.PathLike[str] | LoadedWeights) -> Preprocessing | None:
    """Return the normalization that a file holds, None if it holds none.

    It stands in the file's description, or in the buffers that every `Normalized` network has.

    Args:
        weights: a file's path, or what was read of it.

    Raises:
        FileNotFoundError, ValueError: see `read_weights`.
    """
    loaded = weights if isinstance(weights, LoadedWeights) else open_file(weights)
    described = loaded.description
    if described is not None and described.mean is not None and described.std is not None:
        return Preprocessing(described.mean, described.std, loaded.source, described.modality)
    figures = {name.rpartition(".")[2]: loaded.state[name] for name in loaded.state if is_normalization(name)}
    if figures.keys() == {"mean", "std"}:
        mean, std = (tuple(figures[kind].flatten().tolist()) for kind in ("mean", "std"))
        return Preprocessing(mean, std, loaded.source)
    return None


def find_preprocessing(name: str, weights: str | os.PathLike[str] | LoadedWeights) -> Preprocessing | None:
    """The normalization that belongs to weights.

    In this order: what the file itself holds, see `saved_preprocessing`; of torchvision's networks what
    torchvision says of the published weights, by their name or the name of the published file; of timm's
    networks their `pretrained_cfg`, for files, too.

    Args:
        name, weights: as for `create`; what `open_weights` read is not read again.

    Returns:
        None if nothing says so. A warning says it, but for the CIFAR networks, which are normalized by the
        statistics of their data by convention.

    Raises:
        FileNotFoundError, ValueError: see `create`.
    """
    source = weights.weights if isinstance(weights, LoadedWeights) else os.fspath(weights)
    is_file = is_file_name(source)
    saved = saved_preprocessing(weights) if is_file else None
    if saved is not None:
        return saved
    library, _, bare = name.rpartition("/")
    if library == "" and name in NETWORKS:
        return None
    if library == "timm":
        facts = timm_networks.describe(bare, "imagenet" if is_file else source)
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
