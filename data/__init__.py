"""Data sets and paired modalities; every batch carries the stable index of its samples."""

import importlib
from typing import Any

import lazy_loader

_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_IN_RECORDINGS = (
    "FolderPairs",
    "NYUDepth",
    "PackedPairs",
    "PairedDataset",
    "StoredPairs",
    "SyntheticRooms",
    "check_label_parts",
    "near_duplicates",
    "resolve",
    "split_by_group",
    "survey",
)
"""Names that older code imports from here; they are those of `crdkit.recordings`."""


def __getattr__(name: str) -> Any:
    if name in _IN_RECORDINGS:
        return getattr(importlib.import_module("..recordings", __name__), name)
    return _attribute(name)
