"""What a saved network is: its architecture, its modality, its normalization, its classes."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from ..common import UserError, plain
from .checkpoints import split_entry

METADATA = "crdkit"
"""The key in a safetensors file under which its description stands."""


@dataclass(frozen=True)
class Description:
    """All that belongs to a network's weights, so that they give the same function back.

    The weights of a described file are those of the bare network under its library's own names: the
    normalization stands here.
    """

    architecture: str | None
    """A name of `crdkit.models.create`; None for a network of one's own."""
    modality: str
    """What it sees."""
    channels: int
    """Of the input."""
    size: tuple[int, int]
    """Height and width that it was trained and judged at, pixels."""
    mean: tuple[float, ...] | None = None
    """Of each channel, in the modality's units; None if the network normalizes by itself."""
    std: tuple[float, ...] | None = None
    """Likewise the deviation."""
    class_names: tuple[str, ...] = ()
    """Of the logits, in their order; empty for an encoder."""
    head: Mapping[str, Any] = field(default_factory=dict)
    """What stands on the architecture, by its `kind`: `segmentation`, `linear`, `simkd`; {} for nothing but
    the architecture's own classifier, if it has one."""
    resize: Literal["stretch", "center-crop"] = "stretch"
    """How files were brought to `size`, see `crdkit.data.read_modality`."""
    made_of: str | None = None
    """`rgb` if the modality was made of color images."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """What the numbers in its files mean, as the fields of `crdkit.data.Encoding`; those of the type of the
    file if empty."""

    @property
    def task(self) -> Literal["segmentation", "classification", "representation"]:
        """What its logits are of."""
        if self.head.get("kind") == "segmentation":
            return "segmentation"
        return "classification" if self.class_names else "representation"

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = plain(asdict(self))
        return found

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str) -> "Description":
        """What `as_dict` gave; entries of other names are passed over.

        Raises:
            ValueError: something is missing, or is of another kind; `source` names the file.
        """
        try:
            known = {part.name: content[part.name] for part in fields(cls) if part.name in content}
            for name in ("mean", "std"):
                if known.get(name) is not None:
                    known[name] = tuple(float(value) for value in known[name])
            known["class_names"] = tuple(str(name) for name in known.get("class_names", ()))
            height, width = (int(side) for side in known["size"])
            return cls(**{**known, "size": (height, width)})
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{source} does not describe a network ({error!r})") from error


def read_description(path: str | os.PathLike[str]) -> Description | None:
    """The description inside a safetensors file; None for a file that has none.

    Raises:
        ValueError: it has one that cannot be read.
    """
    file = split_entry(path)[0]
    if Path(file).suffix != ".safetensors" or not Path(file).is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError):
        return None  # `read_weights` says what is wrong with the file
    return parse_description(metadata, str(file))


def parse_description(metadata: Mapping[str, str], source: str) -> Description | None:
    """Return the description in the metadata of a safetensors file, None if there is none.

    Raises:
        ValueError: it cannot be read; `source` names the file.
    """
    if METADATA not in metadata:
        return None
    try:
        content = json.loads(metadata[METADATA])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source}: its description is damaged ({error})") from error
    return Description.from_dict(content, source)
