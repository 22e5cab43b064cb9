"""Arrays as files hold them (height, width[, channels]) to tensors as batches hold them."""

from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batch import IGNORE, DataError

Array: TypeAlias = NDArray[Any]
Size: TypeAlias = tuple[int, int]

MAX_INDOOR_METRES = 80.0
"""A median depth beyond this is taken for a wrong unit: no depth camera that we know reads so far."""


def check_size(size: Size | None) -> Size | None:
    """`size` as two positive integers (height, width), or None for the stored size."""
    if size is None:
        return None
    height, width = (int(side) for side in size)
    if height < 1 or width < 1:
        raise ValueError(f"size must be two positive numbers (height, width), got {tuple(size)}")
    return height, width


def decode(buffer: Array, where: str) -> Array:
    """Encoded bytes (PNG, JPEG, …) to (H, W) or (H, W, 3) in RGB order, in the stored bit depth."""
    try:
        image = cv2.imdecode(np.ascontiguousarray(buffer), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{where}: {buffer.size} bytes that do not decode as an image; the file is damaged")
    if image.ndim == 3:
        code = cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
        image = cv2.cvtColor(image, code)
    return np.asarray(image)


def resize_colour(image: Array, size: Size) -> Array:
    """Area average where it shrinks, bilinear where it grows; (H, W[, C]) of any type cv2 takes."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return np.asarray(
        cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    )


def resize_depth(depth: Array, size: Size) -> Array:
    """Average the readings only; 0 (no reading) where fewer than half of the area has one.

    Grows by the nearest pixel, so that no reading is invented at an object's edge.
    """
    if depth.shape == size:
        return depth
    depth = depth.astype(np.float32, copy=False)
    if depth.shape[0] < size[0] or depth.shape[1] < size[1]:
        return np.asarray(cv2.resize(depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
    total = cv2.resize(depth, size[::-1], interpolation=cv2.INTER_AREA)
    share = cv2.resize((depth > 0).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.where(share >= 0.5, total / np.maximum(share, 0.5), 0).astype(np.float32)


def resize_label(label: Array, size: Size) -> Array:
    """Nearest pixel: no class appears that was not there."""
    if label.shape == size:
        return label
    return np.asarray(cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def colour_tensor(image: Array, where: str) -> Tensor:
    """(H, W[, C]) unsigned integers, or floats in [0, 1], to (C, H, W) float32 in [0, 1].

    Raises `DataError` for floats outside [0, 1] (0–255 given as floats) and for non-finite values.
    """
    planes = image if image.ndim == 3 else image[..., None]
    tensor = torch.from_numpy(np.ascontiguousarray(planes)).permute(2, 0, 1)
    if image.dtype.kind == "u":
        # Contiguous bytes first: widening and transposing in one pass is several times slower.
        return tensor.contiguous().to(torch.float32).div_(float(np.iinfo(image.dtype).max))
    tensor = tensor.to(torch.float32).contiguous()
    low, high = (float(v) for v in tensor.aminmax())
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise DataError(
            f"{where}: colour values from {low:g} to {high:g}, expected [0, 1]; store 0–255 images as uint8"
        )
    return tensor


def depth_tensor(depth: Array, where: str) -> Tensor:
    """(H, W) metres to (1, H, W) float32; 0 is no reading.

    Raises `DataError` for NaN or infinity, for negative values, for no reading at all and for millimetres
    taken for metres.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(depth, dtype=np.float32))[None]
    low, high = (float(v) for v in tensor.aminmax())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int((~tensor.isfinite()).sum())
        raise DataError(f"{where}: depth is not finite at {bad} pixels; mark missing readings with 0")
    if low < 0:
        raise DataError(f"{where}: depth goes down to {low:g} m; mark missing readings with 0")
    if high == 0:
        raise DataError(f"{where}: depth is zero everywhere, so no pixel has a reading")
    if high > MAX_INDOOR_METRES and (median := float(tensor[tensor > 0].median())) > MAX_INDOOR_METRES:
        raise DataError(
            f"{where}: the median depth is {median:g} m; this looks like millimetres, pass depth_scale=0.001"
        )
    return tensor


def label_tensor(label: Array, num_classes: int | None, where: str) -> Tensor:
    """(H, W) or () integer labels to int64; `IGNORE` passes.

    Raises `DataError` for a class below 0 or, where `num_classes` is known, not below it.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(label)).to(torch.int64).reshape(label.shape)
    limit = IGNORE if num_classes is None else num_classes
    wrong = (tensor < 0) | ((tensor >= limit) & (tensor != IGNORE))
    if bool(wrong.any()):
        raise DataError(
            f"{where}: label {int(tensor[wrong].flatten()[0])} at {int(wrong.sum())} pixels, expected "
            f"0 to {limit - 1}, or {IGNORE} for pixels to ignore"
        )
    return tensor


_RESIZE: dict[str, Callable[[Array, Size], Array]] = {"depth": resize_depth, "label": resize_label}


def resize_modality(name: str, array: Array, size: Size) -> Array:
    """Resize the array as its name asks: `depth` around its holes, `label` by the nearest pixel."""
    return _RESIZE.get(name, resize_colour)(array, size)
