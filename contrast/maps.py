"""Positions of maps as vectors."""

import torch
from torch import Tensor


def grid(height: int, width: int, limit: int | None, *, shift: bool = False) -> tuple[slice, slice]:
    """Rows and columns of at most `limit` evenly spaced positions of a map.

    The grid lies in the middle; with `shift` it lies where torch's CPU generator says, so that in time every
    position is drawn. The number of positions does not depend on where.
    """
    step = 1
    while limit is not None and max(1, height // step) * max(1, width // step) > limit:
        step += 1

    def along(length: int) -> slice:
        span = (max(1, length // step) - 1) * step
        places = length - span
        start = int(torch.randint(places, ())) if shift else (places - 1) // 2
        return slice(start, start + span + 1, step)

    return along(height), along(width)


def positions(z_map: Tensor) -> Tensor:
    """The vectors of a map (B, d, H, W), image after image, (B·H·W, d)."""
    return z_map.flatten(2).movedim(1, 2).flatten(0, 1)


def spread(vectors: Tensor, z_map: Tensor) -> Tensor:
    """A vector of each image (B, d) for every position of its map, (B·H·W, d)."""
    return vectors.repeat_interleave(z_map.shape[2] * z_map.shape[3], dim=0)
