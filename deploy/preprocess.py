"""Files and arrays to the inputs of a deployed network."""

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from ..common import UserError, plain
from ..data import Array, Encoding, Input, parse_encodings, read_inputs, read_modality
from ..models import Description

ENCODING = ("unit", "scale", "focal_baseline", "channel", "invalid", "clip", "transform")
"""The fields of an encoding that say what numbers mean; the others pair modalities."""


class Preprocess:
    """A file, or the array that it would hold, to the modality as the network saw it: (C, H, W) float32.

    The network normalizes by itself; here numbers get their unit, holes are marked, pictures resized.

    Args:
        description: of the network.
        encoding: what the numbers of the files mean, if it is not what they meant in the run.
        size: height and width, if not those of the run.
    """

    def __init__(
        self,
        description: Description,
        *,
        encoding: Encoding | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.description, self.size = description, size or description.size
        self.encoding = encoding_of(description) if encoding is None else encoding

    def __call__(self, source: str | PathLike[str] | Array, *, where: str = "") -> Tensor:
        """(C, H, W), not normalized.

        Args:
            source: a path, or numbers as a file stores them (H, W[, C]), color in RGB order.
            where: the sample, for messages.

        Raises:
            DataError: as `crdkit.data.read_modality`.
            ValueError: another number of channels than the network takes.
        """
        described = self.description
        tensor = read_modality(
            source,
            described.modality,
            encoding=self.encoding,
            size=self.size,
            resize=described.resize,
            made_of=described.made_of,
            where=where,
        )
        if len(tensor) != described.channels:
            named = where or (source if isinstance(source, str | PathLike) else "the array")
            raise UserError(
                f"{named} has {len(tensor)} channels, the network takes {described.channels} of "
                f"{described.modality}"
            )
        return tensor

    def batch(self, sources: Iterable[str | PathLike[str] | Array]) -> Tensor:
        """(B, C, H, W) of several."""
        return torch.stack([self(source) for source in sources])

    def read(self, sources: Iterable[str]) -> Iterator[Input]:
        """The samples of files, folders, videos or a camera, as `__call__` takes them; see `read_inputs`."""
        one = self.description.channels == 1 and self.description.made_of is None
        channel = self.encoding.channel
        return read_inputs(tuple(sources), keep_alpha=channel is not None, gray=one and channel is None)

    def with_settings(self, settings: Iterable[str], size: tuple[int, int] | None) -> "Preprocess":
        """The same with what a person says of the files: `depth.unit=mm`, and another size.

        Raises:
            ValueError: a setting that is none, or of another modality.
        """
        encodings = parse_encodings(settings)
        name = self.description.made_of or self.description.modality
        if odd := sorted(encodings.keys() - {name}):
            raise UserError(f"the network sees {name}, and the encoding is of {odd[0]}")
        return Preprocess(
            self.description, encoding=encodings.get(name, self.encoding), size=size or self.size
        )


def encoding_of(description: Description) -> Encoding:
    """What the numbers in the files of a network's modality mean."""
    found: dict[str, Any] = dict(description.encoding)
    for name in ("invalid", "clip"):
        if found.get(name) is not None:
            found[name] = tuple(found[name])
    return Encoding(**found)


def describe_encoding(encoding: Encoding) -> dict[str, Any]:
    """The part of an encoding that a deployed network needs, as JSON values; {} for the default."""
    default = Encoding()
    kept = {name: getattr(encoding, name) for name in ENCODING}
    chosen: dict[str, Any] = plain({n: v for n, v in kept.items() if v != getattr(default, n)})
    return chosen


def units_of(description: Description) -> str:
    """The values that the network takes, in words."""
    holes = " (NaN: no reading)"
    known = {
        "rgb": "red, green, blue in [0, 1]",
        "gray": "in [0, 1]",
        "depth": "meters (0: no reading)",
        "l": "lightness, L/50 - 1 of CIE Lab",
        "ab": "color, ab/110 of CIE Lab",
    }
    encoding = encoding_of(description)
    if encoding.transform != "none":
        change = {"log": "ln(1 + value)", "inverse": "1 / value"}[encoding.transform]
        base = "meters" if description.modality == "depth" else "the modality's unit"
        return f"{change} of {base}" + (" (0: no reading)" if description.modality == "depth" else holes)
    if description.modality in known:
        return known[description.modality]
    if encoding.unit == "color":
        return "in [0, 1], integers over their type's maximum"
    return f"as the files say, unit={encoding.unit}" + holes
