"""Frames of one part that are nearly those of another: a test that trains on its answers."""

from typing import Any

import cv2
import numpy as np
import torch

from ..data.io.arrays import Array

DISTANCE = 2
"""Bits of 64 in which two hashes may differ."""
BLOCK = 4096
"""Rows of each side that are compared at once: 64 MiB of products."""


def near_duplicates(
    train: Any, test: Any, *, modality: str = "rgb", distance: int = DISTANCE
) -> list[tuple[int, int]]:
    """Rows (of `train`, of `test`) whose pictures are nearly the same, in rising order.

    Compared are 64-bit difference hashes of the gray pictures (`difference_hash`), which do not change with
    size, brightness or compression. Pictures without any structure are left out.

    Args:
        train, test: data sets whose samples have `modality`, (C, H, W); each sample is read once.
        distance: bits that may differ.
    """
    first, second = (difference_hashes(dataset, modality) for dataset in (train, test))
    result: list[tuple[int, int]] = []
    for start in range(0, len(first), BLOCK):
        left = _signs(first[start : start + BLOCK])
        for begin in range(0, len(second), BLOCK):
            # The product of two rows of ±1 is 64 − 2 × (bits that differ).
            alike = left @ _signs(second[begin : begin + BLOCK]).T >= 64 - 2 * distance
            result += [(start + int(i), begin + int(j)) for i, j in np.argwhere(alike)]
    flat = [{int(row) for row in np.flatnonzero(hashes == 0)} for hashes in (first, second)]
    return sorted((i, j) for i, j in result if i not in flat[0] and j not in flat[1])


def difference_hashes(dataset: Any, modality: str = "rgb") -> Array:
    """(N,) uint64 of a data set's pictures, in order; only `modality` is read if it can be selected."""
    source = dataset.select(modality) if hasattr(dataset, "select") else dataset
    hashes = np.zeros(len(source), np.uint64)
    for row in range(len(source)):
        picture = torch.nan_to_num(source[row][modality]).mean(dim=0).cpu().numpy()
        hashes[row] = difference_hash(picture)
    return hashes


def difference_hash(gray: Array) -> int:
    """A picture (H, W) as 64 bits: whether each of 8 × 8 cells is darker than the one to its right."""
    cells = cv2.resize(np.asarray(gray, np.float32), (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(cells[:, :-1] < cells[:, 1:]).tobytes(), "big")


def _signs(hashes: Array) -> Array:
    """(n,) uint64 to (n, 64) float32 of ±1."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    return bits.astype(np.float32) * 2 - 1
