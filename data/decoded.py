"""Decoded data that command after command reads: decoded once, kept in the user's cache folder."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import PIL
import torch

from ..common import Artifact, ManifestError, UserError, cache_folder, plain, processor, sha256
from .in_memory import PairedTensors

SWITCH = "CRDKIT_DECODED"
"""`0` in the environment does without: nothing is read there or written."""
LARGEST = 256 * 2**20
"""Bytes of a file, and of what it is decoded to, that are kept at the most."""
TOTAL = 2**30
"""Bytes of all that is kept; what was not used for the longest time goes."""
SPARE = 20
"""Nothing is kept on a disk that has not this many times the room."""


def decode_once(
    made_of: Mapping[str, Any],
    decode: Callable[[], PairedTensors],
    *,
    file: Path | None = None,
    code: Path | None = None,
) -> PairedTensors:
    """What `decode` gives, bit for bit, from the cache folder if it is there, else to be kept there.

    It is known by what it was made of, the contents of its file, this room's code, the libraries that decode
    and the processor, and its own digest is compared. Whatever fails about it, `decode` is called.

    Args:
        made_of: JSON values that the samples depend on, beside the file.
        file: that is decoded; one that is larger than `LARGEST`, or absent, is left alone.
        code: a folder of sources that decode, beside this room.
    """
    try:
        if os.environ.get(SWITCH) == "0" or (file is not None and file.stat().st_size > LARGEST):
            return decode()
        known = plain({**made_of, "file": None if file is None else sha256(file), "decoder": _decoder(code)})
        name = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
        place = cache_folder() / f"decoded-{name}"
        if place.exists():
            with contextlib.suppress(ManifestError, KeyError, ValueError):
                return _read(place, known)
            Artifact.delete(place)
    except OSError:
        return decode()
    found = decode()
    with contextlib.suppress(OSError):
        _write(found, place, known)
    return found


def _read(place: Path, known: Mapping[str, Any]) -> PairedTensors:
    content = Artifact.open(place).fingerprint
    if content["known"] != known:
        raise UserError(f"{place} was made of something else")
    tensors = {name: torch.from_numpy(np.load(place / f"{name}.npy")) for name in content["names"]}
    found = PairedTensors(**tensors)
    found.num_classes, found.class_names = content["num_classes"], tuple(content["class_names"])
    os.utime(place)
    return found


def _write(found: PairedTensors, place: Path, known: Mapping[str, Any]) -> None:
    size = sum(tensor.nbytes for tensor in found.tensors.values())
    if size > LARGEST or shutil.disk_usage(place.parent).free < SPARE * size:
        return
    kept = {"num_classes": found.num_classes, "class_names": found.class_names}
    with Artifact.write(place, {"known": known, "names": list(found.tensors), **kept}) as made:
        for name, tensor in found.tensors.items():
            np.save(made / f"{name}.npy", tensor.numpy())
    left = TOTAL
    for other in sorted(place.parent.glob("decoded-*"), key=lambda path: -path.stat().st_mtime):
        left -= sum(part.stat().st_size for part in other.iterdir())
        if left < 0:
            Artifact.delete(other)


@cache
def _decoder(code: Path | None) -> str:
    """A digest of what decodes: this room's sources and `code`, the libraries' versions, the processor."""
    total = hashlib.sha256(processor().encode())
    for library in (cv2, h5py, np, PIL):
        total.update(f"{library.__name__} {library.__version__} ".encode())
    for room in (Path(__file__).parent, *([] if code is None else [code])):
        for source in sorted(room.rglob("*.py")):
            total.update(f"{source.relative_to(room)} ".encode() + source.read_bytes())
    return total.hexdigest()
