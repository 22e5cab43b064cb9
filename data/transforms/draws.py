"""From the host, where augmentation is drawn, to the images' device."""

import torch
from torch import Tensor


def upload(drawn: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """What was drawn on the CPU on another device, of another dtype; the host does not wait for a GPU."""
    if device.type == "cuda" and drawn.device.type == "cpu":
        drawn = drawn.pin_memory()
    return drawn.to(device, dtype, non_blocking=True)
