"""Random crops and flips that move every modality of a batch alike."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from kornia.geometry.transform import remap
from torch import Tensor

from ..holes import readings


class Maps(NamedTuple):
    """Where each output pixel comes from, in coordinates from -1 to 1 over the input's area."""

    x: Tensor
    """(B, H, W)"""
    y: Tensor
    """(B, H, W)"""


def random_crop(
    batch_size: int, *, scale: tuple[float, float], ratio: tuple[float, float], flip: float
) -> Tensor:
    """Draw boxes (B, 4): center x, center y, half width, half height, in coordinates from -1 to 1.

    The area is uniform in `scale` (of the image's), the aspect uniform in log over `ratio` (of the image's
    own aspect), sides are cut to the image, the place is uniform inside it; a box of negative half width is
    mirrored, with probability `flip`. Drawn on the CPU from torch's global generator whatever the device of
    the images, so that its state alone reproduces a run.
    """
    area, aspect, place_x, place_y, mirror = torch.rand(5, batch_size)
    area = scale[0] + (scale[1] - scale[0]) * area
    low, high = torch.tensor(ratio).log()
    root = (0.5 * (low + (high - low) * aspect)).exp()
    half_width = (area.sqrt() * root).clamp_max(1)
    half_height = (area.sqrt() / root).clamp_max(1)
    center_x = (2 * place_x - 1) * (1 - half_width)
    center_y = (2 * place_y - 1) * (1 - half_height)
    half_width = torch.where(mirror < flip, -half_width, half_width)
    return torch.stack([center_x, center_y, half_width, half_height], dim=1)


def maps_of(boxes: Tensor, size: tuple[int, int]) -> Maps:
    """The sampling maps of boxes (B, 4) for an output of `size` (H, W).

    A box is parallel to the axes, so the maps are two broadcast ramps: a tenth of the time of a general
    affine grid on a CPU.
    """
    height, width = size
    ramp_x = (torch.arange(width, device=boxes.device) * 2 + 1) / width - 1
    ramp_y = (torch.arange(height, device=boxes.device) * 2 + 1) / height - 1
    x = boxes[:, 0:1] + boxes[:, 2:3] * ramp_x
    y = boxes[:, 1:2] + boxes[:, 3:4] * ramp_y
    batch_size = len(boxes)
    return Maps(
        x[:, None, :].expand(batch_size, height, width), y[:, :, None].expand(batch_size, height, width)
    )


def warp_bilinear(images: Tensor, maps: Maps) -> Tensor:
    """(B, C, H, W) floats at the maps, interpolated."""
    return remap(
        images, maps.x, maps.y, "bilinear", "border", align_corners=False, normalized_coordinates=True
    )


def warp_nearest(images: Tensor, maps: Maps, *, padding: str = "border") -> Tensor:
    """(B, C, H, W) floats at the maps, each output pixel a copy of an input pixel."""
    return remap(images, maps.x, maps.y, "nearest", padding, align_corners=False, normalized_coordinates=True)


def warp_modalities(
    modalities: Mapping[str, Tensor], masks: Mapping[str, Tensor], maps: Maps
) -> dict[str, Tensor]:
    """All modalities (B, C, H, W) and masks (B, H, W) at the maps, in two passes whatever their number.

    They are interpolated, masks take the nearest pixel (exact for integers up to 2^24). A modality with holes
    is made of readings only: a pixel whose nearest source is a hole is a hole (0 in `depth`, else NaN),
    elsewhere the readings among its four neighbors are averaged with their bilinear weights, so that no zero
    leaks into a depth. Meters are not rescaled by a zoom: a crop is a narrower picture from the same place,
    not a step forward.
    """
    smooth = dict(modalities)
    sharp = {name: mask[:, None].to(torch.float32) for name, mask in masks.items()}
    with_holes = []
    for name, modality in modalities.items():
        valid = readings(name, modality)
        if name == "depth":
            smooth[_VALID] = sharp[_VALID] = (modality > 0).to(torch.float32)
        elif valid is not None:
            with_holes.append(name)
            smooth[name] = torch.where(valid, modality, 0.0)
            # Holes, not readings: their weights are exactly 0 if there are none, and no bit changes.
            smooth[name + _HOLE], sharp[name + _HOLE] = (
                (~valid).to(modality.dtype),
                (~valid).to(torch.float32),
            )
    smooth = _stacked(smooth, lambda stack: warp_bilinear(stack, maps))
    sharp = _stacked(sharp, lambda stack: warp_nearest(stack, maps))
    # If the nearest neighbor is valid, it alone weighs 1/4.
    if "depth" in modalities:
        depth = smooth["depth"] / smooth.pop(_VALID).clamp_min_(0.2)
        smooth["depth"] = depth * sharp.pop(_VALID)
    for name in with_holes:
        averaged = smooth[name] / (1 - smooth.pop(name + _HOLE)).clamp_min_(0.2)
        smooth[name] = averaged.masked_fill(sharp.pop(name + _HOLE) > 0.5, torch.nan)
    return smooth | {name: sharp[name][:, 0].to(mask.dtype) for name, mask in masks.items()}


_VALID = "depth/valid"
_HOLE = "/hole"


def _stacked(modalities: Mapping[str, Tensor], warp: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Warp the modalities as the channels of one tensor: the cost is mostly a pixel's, not a channel's."""
    if not modalities:
        return {}
    warped = warp(torch.cat(list(modalities.values()), dim=1))
    return dict(
        zip(
            modalities,
            warped.split([modality.shape[1] for modality in modalities.values()], dim=1),
            strict=True,
        )
    )
