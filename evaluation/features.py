"""Features of a frozen network over a whole data set: what probes and neighbors are judged on."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common import UserError
from ..models import Outputs
from .batches import Reading, in_turn, is_dataset, judging, read_batches


class Features(NamedTuple):
    """One vector and one class for each sample, in the data's order, on the CPU."""

    vectors: Tensor
    """(N, D) float32."""
    label: Tensor
    """(N,) int64."""


class Layer(NamedTuple):
    """Which of a network's outputs is the feature, and how it becomes a vector."""

    number: int | None = None
    """Of the maps, from the stem at 0, or from the last at -1; None takes the embedding."""
    grid: int | None = None
    """The map is averaged over a grid of this many cells a side; None flattens it as it is."""


def extract(
    network: Callable[[Any], Outputs],
    batches: Iterable[Mapping[str, Tensor]] | Any,
    *,
    layer: int | None = None,
    grid: int | None = None,
    autocast: torch.dtype | None = None,
    **how: Unpack[Reading],
) -> Features:
    """Runs a network over a data set without changing a bit of it.

    A module is in eval mode throughout, so that batch-norm statistics stay, and gets its mode back.

    Args:
        network: returns `Outputs`.
        batches: as `Reading` says; "label" is (B,). Of a data set every rank reads a part; all get the whole.
        layer, grid: as of `Layer`; the embedding where both are absent.
        autocast: half-precision type of the forward pass; None for the network's own.
        how: the batches are read; with a modality.

    Raises:
        ValueError: for no samples, a layer that the network does not have, labels that are no (B,), features
            that are not finite.
        TypeError: for a network that does not return `Outputs`.
        KeyError: for a batch without the modality or "label"; what it has is listed.
    """
    (features,) = extract_layers(network, batches, [Layer(layer, grid)], autocast=autocast, **how)
    return features


def extract_layers(
    network: Callable[[Any], Outputs],
    batches: Iterable[Mapping[str, Tensor]] | Any,
    layers: Sequence[Layer],
    *,
    autocast: torch.dtype | None = None,
    **how: Unpack[Reading],
) -> list[Features]:
    """The features of several layers from one pass over the data; the rest is as for `extract`."""
    vectors, entries = _collect(network, batches, layers, ("label",), autocast, how)
    return [Features(rows, entries["label"].long()) for rows in vectors]


def embed(
    network: Callable[[Any], Outputs],
    batches: Iterable[Mapping[str, Tensor]] | Any,
    *,
    autocast: torch.dtype | None = None,
    **how: Unpack[Reading],
) -> Tensor:
    """The embeddings alone, (N, D) float32, in the data's order, on the CPU: `extract` of samples without
    labels, whose arguments and errors it has."""
    (vectors,), _ = _collect(network, batches, [Layer()], (), autocast, how)
    return vectors


def layers_of(maps: Sequence[tuple[int, int, int]], dimension: int) -> list[Layer]:
    """Every map of a network as vectors of comparable length, after the practice of Zhang et al., 2017.

    Each is averaged over the finest grid with which its vector has at most `dimension` numbers, or over all
    of its area where even that has more.

    Args:
        maps: (C, H, W) of each, as `measure` gives them.
        dimension: the most numbers.
    """
    layers = []
    for number, (channels, height, width) in enumerate(maps):
        cells = min(height, width, max(1, math.isqrt(dimension // channels)))
        layers.append(Layer(number, cells))
    return layers


def check_pair(train: Features, test: Features) -> int:
    """The number of classes, one more than the largest label of `train`.

    Raises:
        ValueError: vectors and labels that differ in number, no sample, another D, or a class that is tested
            and was not trained.
    """
    for name, features in (("train", train), ("test", test)):
        if features.vectors.ndim != 2 or features.label.shape != features.vectors.shape[:1]:
            raise ValueError(
                f"{name} must have vectors (N, D) and labels (N,), got {tuple(features.vectors.shape)} and "
                f"{tuple(features.label.shape)}"
            )
        if len(features.label) == 0:
            raise UserError(f"{name} has no sample")
    if train.vectors.shape[1] != test.vectors.shape[1]:
        raise ValueError(
            f"train has {train.vectors.shape[1]} dimensions and test {test.vectors.shape[1]}; take both from "
            "one layer"
        )
    unknown = sorted(set(test.label.tolist()) - set(train.label.tolist()))
    if unknown:
        raise UserError(f"class {unknown[0]} is in test and not in train")
    return int(train.label.max()) + 1


def _collect(
    network: Callable[[Any], Outputs],
    batches: Iterable[Mapping[str, Tensor]] | Any,
    layers: Sequence[Layer],
    names: Sequence[str],
    autocast: torch.dtype | None,
    how: Reading,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """For each layer the vectors of all samples, and by its name what else the samples have, (N,)."""
    for _, grid in (layer for layer in layers if layer.grid is not None):
        if grid is not None and grid < 1:
            raise UserError(f"grid must be at least 1, got {grid}")
    if any(layer.grid is not None and layer.number is None for layer in layers):
        raise UserError("grid belongs to a map: give its layer too, or neither for the embedding")
    modality = how["modality"] or ""
    how["sharded"] = sharded = is_dataset(batches)
    vectors: list[list[Tensor]] = [[] for _ in layers]
    entries: dict[str, list[Tensor]] = {name: [] for name in names}
    with judging(network):
        for number, batch in enumerate(read_batches(batches, network, (*names, modality), **how)):
            with torch.autocast(batch[modality].device.type, dtype=autocast, enabled=autocast is not None):
                outputs = network(batch[modality])
            for kept, layer in zip(vectors, layers, strict=True):
                rows = _feature(outputs, layer)
                for name in names:
                    if batch[name].shape != rows.shape[:1]:
                        raise ValueError(f"{name} must be ({len(rows)},), got {tuple(batch[name].shape)}")
                if not torch.isfinite(rows).all():
                    raise UserError(f"the features of batch {number} hold NaN or infinity")
                kept.append(rows.cpu())
            for name, values in entries.items():
                values.append(batch[name].cpu())
    if sharded:
        vectors = [in_turn(rows) for rows in vectors]
        entries = {name: in_turn(values) for name, values in entries.items()}
    if not all(vectors):
        raise UserError("there is no batch to take features of")
    return [torch.cat(rows) for rows in vectors], {name: torch.cat(v) for name, v in entries.items()}


def _feature(outputs: Any, chosen: Layer) -> Tensor:
    """(B, D) float32."""
    layer, grid = chosen
    if not isinstance(outputs, Outputs):
        raise TypeError(
            f"the network returned {type(outputs).__name__}, not Outputs; wrap it in models.FeatureExtractor"
        )
    if layer is None:
        return outputs.embedding.float()
    if not -len(outputs.maps) <= layer < len(outputs.maps):
        shapes = ", ".join(str(tuple(feature_map.shape[1:])) for feature_map in outputs.maps)
        raise UserError(f"no layer {layer}: the network has {len(outputs.maps)} maps, {shapes}")
    feature_map = outputs.maps[layer].float()
    return (feature_map if grid is None else F.adaptive_avg_pool2d(feature_map, grid)).flatten(1)
