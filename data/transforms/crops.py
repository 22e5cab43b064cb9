"""The crops of the published ImageNet pipeline, of one image at its own size."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ATTEMPTS = 10


class Box(NamedTuple):
    """A part of an image, in whole pixels."""

    top: int
    left: int
    height: int
    width: int


def draw_box(
    height: int, width: int, *, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Box, float]:
    """The box of torchvision's `RandomResizedCrop`, and one more number in [0, 1) for whoever needs it.

    The area is uniform in `scale` (of the image's), width / height uniform in log over `ratio`, the place
    uniform; ten attempts to fit the image, then the largest box in its middle that keeps to `ratio`. Always
    draws 23 numbers from torch's global generator.
    """
    draws = torch.rand(2 * ATTEMPTS + 3, dtype=torch.float64)
    areas = height * width * (scale[0] + (scale[1] - scale[0]) * draws[:ATTEMPTS])
    low, high = torch.tensor(ratio, dtype=torch.float64).log()
    aspects = (low + (high - low) * draws[ATTEMPTS : 2 * ATTEMPTS]).exp()
    heights = (areas / aspects).sqrt().round().long().tolist()
    widths = (areas * aspects).sqrt().round().long().tolist()
    place_y, place_x, spare = draws[2 * ATTEMPTS :].tolist()
    for h, w in zip(heights, widths, strict=True):
        if 0 < h <= height and 0 < w <= width:
            return Box(int(place_y * (height - h + 1)), int(place_x * (width - w + 1)), h, w), spare
    h = min(height, round(width / ratio[0]))
    w = min(width, round(height * ratio[1]))
    return Box((height - h) // 2, (width - w) // 2, h, w), spare


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """(C, H, W) uint8 to (C, height, width), bilinear over the area that an output pixel covers.

    That is Pillow's bilinear filter, to one of 255 levels. OpenCV's of the same name looks at four pixels
    however much it shrinks.
    """
    resized: Tensor = functional.interpolate(
        image[None], (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return resized[0]


def resized_crop(image: Tensor, box: Box, side: int) -> Tensor:
    """The box of (C, H, W) uint8 as (C, side, side)."""
    part = image[:, box.top : box.top + box.height, box.left : box.left + box.width]
    return resize(part, side, side)


def center_crop(image: Tensor, shorter: int, side: int) -> Tensor:
    """(C, H, W) uint8, its shorter side made `shorter` pixels, the middle (C, side, side) of that."""
    _, height, width = image.shape
    least = min(height, width)
    height, width = shorter * height // least, shorter * width // least
    image = resize(image, height, width)
    top, left = round((height - side) / 2), round((width - side) / 2)
    return image[:, top : top + side, left : left + side]
