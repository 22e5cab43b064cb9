"""What every network of the toolkit returns, and its parts by name."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from ..common import UserError


class Outputs(NamedTuple):
    """The outputs of a network, from which every transfer objective takes what it reads.

    Attributes:
        logits: class scores, (B, C) of a classifier, (B, C, H, W) of a segmenter, None of a pure encoder.
        maps: feature maps from the stem to the last stage, each (B, C_i, H_i, W_i).
        embedding: one vector for each image, (B, D); the average of the last map unless the network says
            otherwise.
        preactivations: what activation-boundary distillation reads: the stages' maps before their last ReLU,
            one for each map and as large; the stem's is its map as it is. Empty where a network gives none.
    """

    logits: Tensor | None
    maps: tuple[Tensor, ...]
    embedding: Tensor
    preactivations: tuple[Tensor, ...] = ()


def take_parts(outputs: Outputs, names: Iterable[str]) -> dict[str, Tensor]:
    """The named parts of a network's outputs.

    Args:
        names: "logits", "embedding", "maps.3", "preactivations.2"; numbers count from 0.

    Raises:
        ValueError: a part that the outputs do not have; it is named.
    """
    parts: dict[str, Tensor] = {}
    for name in names:
        field, _, number = name.partition(".")
        try:
            value = getattr(outputs, field)
            value = value[int(number)] if number else value
        except (AttributeError, IndexError):
            value = None
        if value is None:
            raise UserError(f"the outputs have no {name!r}: {len(outputs.maps)} maps, {_known(outputs)}")
        parts[name] = value
    return parts


def from_parts(parts: Mapping[str, Tensor]) -> Outputs:
    """`Outputs` of named parts; what was not taken is None, among the maps too, which keep their numbers."""
    fields: dict[str, dict[int, Tensor]] = {"maps": {}, "preactivations": {}}
    for name, value in parts.items():
        field, _, number = name.partition(".")
        if number:
            fields[field][int(number)] = value
    maps, preactivations = (
        tuple(found.get(number) for number in range(max(found, default=-1) + 1)) for found in fields.values()
    )
    return Outputs(parts.get("logits"), maps, parts.get("embedding"), preactivations)  # type: ignore[arg-type]


def _known(outputs: Outputs) -> str:
    given = [name for name in ("logits", "embedding") if getattr(outputs, name) is not None]
    return f"{', '.join(given) or 'nothing else'}, {len(outputs.preactivations)} preactivations"
