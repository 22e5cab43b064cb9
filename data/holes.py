"""Where a modality has readings: the one place that knows how holes are marked."""

import torch
from torch import Tensor

from .encodings import WITHOUT_HOLES


def readings(name: str, values: Tensor) -> Tensor | None:
    """Which pixels of modality `name` (…, C, H, W) hold a reading: booleans (…, 1, H, W).

    A hole is 0 in `depth`, and NaN in any channel of another modality. None for the modalities of light (rgb,
    gray, l, ab), which have no holes: nothing is to be masked.
    """
    if name in WITHOUT_HOLES:
        return None
    if name == "depth":
        return values > 0
    return ~torch.isnan(values).any(dim=-3, keepdim=True)


def averages(name: str) -> bool:
    """Whether the mean of two values of modality `name` is one of its values again: not of depth, whose hole,
    0, would count as meters. Of NaN and a reading the mean is NaN, a hole."""
    return name != "depth"
