"""Arrays as files hold them (height, width[, channels]) to tensors as batches hold them."""

from collections.abc import Iterable
from typing import TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from ...common import UserError, require_memory
from ..batch import IGNORE, DataError
from .arrays import Array
from .containers import (
    TiffLayout,
    decode_portable,
    has_multiplied_colors,
    is_portable,
    read_with_pillow,
    tiff_layout,
)
from .headers import check_claim, is_cut_jpeg
from .quiet import quiet

Size: TypeAlias = tuple[int, int]

MAX_INDOOR_METRES = 80.0
"""A median depth beyond this is taken for a wrong unit: no depth camera that we know reads so far."""


def one_thread_in_workers() -> None:
    """OpenCV's threads off in a loader's worker: the workers are the parallelism, more threads contend."""
    if get_worker_info() is not None:
        cv2.setNumThreads(0)


def check_size(size: Size | None) -> Size | None:
    """`size` as two positive integers (height, width), or None for the stored size."""
    if size is None:
        return None
    height, width = (int(side) for side in size)
    if height < 1 or width < 1:
        raise UserError(f"size must be two positive numbers (height, width), got {tuple(size)}")
    return height, width


def decode_image(buffer: Array, where: str, *, keep_alpha: bool = False) -> Array:
    """Encoded bytes (PNG, JPEG, …) to (H, W) or (H, W, 3) in RGB order, in the stored bit depth.

    Pixels stay where they are stored: the orientation that a camera notes beside them is not applied, as no
    published pipeline applies it, and modalities that pair pixel for pixel must not turn apart. Gray of 1, 2
    and 4 bits is stretched to 0–255 and a palette resolved, as for a picture; `stored.decode_label` does not.

    Args:
        keep_alpha: (H, W, 4) for a file of four channels, in RGBA order: the fourth may be a thermal image.

    Raises:
        DataError: bytes that are no image, cut or damaged, or claim more than they can hold; more channels
            than can be read.
    """
    if is_portable(buffer):
        return _whitened(decode_portable(buffer, where), buffer)
    check_claim(buffer, where)
    layout = tiff_layout(buffer)
    image = _decode(buffer, layout)
    if image is None:
        raise DataError(f"{where}: {buffer.size} bytes that {_why_not(buffer, layout)}")
    if layout is not None:
        _check_channels(image, layout, keep_alpha, where)
    if image.ndim == 3 and image.shape[2] == 4 and not keep_alpha:
        image = image[..., :3]
    return np.ascontiguousarray(image)


def _decode(buffer: Array, layout: TiffLayout | None) -> Array | None:
    """(H, W) or (H, W, C) in RGB[A] order; None if it is no image or damaged."""
    if has_multiplied_colors(layout):
        try:
            return read_with_pillow(buffer)
        except Exception:  # Pillow raises many kinds for a damaged file
            return None
    try:
        with quiet():
            image = cv2.imdecode(np.ascontiguousarray(buffer), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None or is_cut_jpeg(buffer):
        return None  # some versions of OpenCV fill what is missing with gray
    if image.ndim == 2:
        return np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16, np.float32):  # the types that cvtColor takes
        return np.asarray(image[..., [2, 1, 0, *range(3, image.shape[2])]])
    code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, code))


def _whitened(image: Array, buffer: Array) -> Array:
    """A PBM's bits as a picture has them: 0 (white) is 255."""
    return (255 * (1 - image)).astype(np.uint8) if buffer[1] in b"14" else image


def _why_not(buffer: Array, layout: TiffLayout | None) -> str:
    if buffer[:4].tobytes() == b"\x76\x2f\x31\x01":
        return (
            "are an OpenEXR image, which this OpenCV was built without or does not read unless "
            "OPENCV_IO_ENABLE_OPENEXR=1 is set; convert it to .npy, TIFF or PFM"
        )
    kind = "" if layout is None else f" (a TIFF of {layout})"
    return f"do not decode as an image{kind}; the file is damaged" + (
        ", or of a kind that is not read: convert it to PNG or .npy" if kind else ""
    )


def _check_channels(image: Array, layout: TiffLayout, keep_alpha: bool, where: str) -> None:
    """Raise `DataError` if OpenCV left channels out, which it does without a word."""
    read = image.shape[2] if image.ndim == 3 else 1
    alpha = 1 if layout.extra and not keep_alpha else 0
    if layout.samples - alpha > read or (layout.samples > read and layout.bits != 8):
        raise DataError(f"{where}: a TIFF of {layout}, of which only {read} can be read; save it as .npy")


def decode_color(buffer: Array, where: str) -> Array:
    """Encoded bytes to (H, W, 3) uint8 in RGB order; gray is repeated, 16 bits keep their upper 8."""
    return as_color(decode_image(buffer, where), where)


def as_color(image: Array, where: str) -> Array:
    """(H, W[, C]) of 8 or 16 bits to (H, W, 3) uint8: gray is repeated, 16 bits keep their upper 8.

    Raises:
        DataError: other types, numbers of channels but 1, 3, or 4, of which the fourth is dropped.
    """
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise DataError(f"{where}: pixels of {image.dtype}, expected 8 or 16 bits")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2RGB))
    if image.shape[2] not in (3, 4):
        raise DataError(f"{where}: {image.shape[2]} channels, expected 1, 3 or 4")
    return np.ascontiguousarray(image[..., :3])


def require_pixels(count: int, size: Size, *, each: int = 3) -> None:
    """Raise `ValueError` with the figures if so many images, of `each` bytes a pixel, are more than fits."""
    (height, width), remedy = size, "lower the size of the images, or take fewer of them"
    require_memory(count * height * width * each, f"{count} images of {height}×{width}", remedy)


def stack_color(images: Iterable[tuple[str, Array]], count: int, size: Size | None) -> Array:
    """(N, 3, H, W) uint8 of `count` images (H, W, 3), each with where it is from, resized to `size`.

    Raises:
        DataError: images that differ in size where `size` is None.
        ValueError: they are more than fits in memory.
    """
    if size is not None:
        require_pixels(count, size)
    result: Array = np.empty((0, 3, 0, 0), np.uint8)
    for row, (where, image) in enumerate(images):
        image = image if size is None else resize_color(image, size)
        if row == 0:
            require_pixels(count, image.shape[:2])
            result = np.empty((count, 3, *image.shape[:2]), np.uint8)
        if image.shape[:2] != result.shape[2:]:
            (h, w), (h_0, w_0) = image.shape[:2], result.shape[2:]
            raise DataError(f"{where} is {h}×{w}, the first is {h_0}×{w_0}; pass size=(height, width)")
        result[row] = image.transpose(2, 0, 1)
    return result


def resize_color(image: Array, size: Size) -> Array:
    """Area average where it shrinks, bilinear where it grows; (H, W[, C]) of any type cv2 takes."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return np.asarray(
        cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    )


def resize_readings(array: Array, size: Size) -> Array:
    """Floats (H, W[, C]) with NaN for holes: as `resize_color`, over the readings only.

    NaN where fewer than half of the area has a reading.
    """
    holes = np.isnan(array)
    if array.shape[:2] == size or not holes.any():
        return resize_color(array, size)
    total = resize_color(np.where(holes, array.dtype.type(0), array), size)
    share = resize_color((~holes).astype(array.dtype), size)
    return np.where(share >= 0.5, total / np.maximum(share, 0.5), array.dtype.type(np.nan))


def resize_depth(depth: Array, size: Size) -> Array:
    """Average the readings only; 0 (no reading) where fewer than half of the area has one.

    Grows by the nearest pixel, so that no reading is invented at an object's edge.
    """
    if depth.shape == size:
        return depth
    if depth.shape[0] < size[0] or depth.shape[1] < size[1]:
        return resize_label(depth, size)
    total = cv2.resize(depth, size[::-1], interpolation=cv2.INTER_AREA)
    share = cv2.resize((depth > 0).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.where(share >= 0.5, total / np.maximum(share, 0.5), 0).astype(np.float32)


def resize_label(label: Array, size: Size) -> Array:
    """The nearest pixel's value: no class appears that was not there."""
    if label.shape == size:
        return label
    rows, columns = (
        ((2 * np.arange(new) + 1) * old // (2 * new)) for new, old in zip(size, label.shape, strict=True)
    )
    return np.asarray(label[rows][:, columns])


def check_color(image: Array, where: str) -> None:
    """Raise `DataError` unless unsigned integers, or floats in [0, 1]: 0–255 as floats, NaN."""
    if image.dtype.kind == "u":
        return
    low, high = image.min(), image.max()
    if not (low >= 0 and high <= 1):  # also for NaN
        raise DataError(
            f"{where}: {image.dtype} values from {low:g} to {high:g}, expected [0, 1]; store 0–255 as uint8"
        )


def check_depth(depth: Array, where: str) -> None:
    """Raise `DataError` for depth (H, W) that cannot be meters with 0 for no reading.

    That is NaN or infinity, negative values, no reading at all, and millimeters taken for meters.
    """
    low, high = float(depth.min()), float(depth.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int((~np.isfinite(depth)).sum())
        raise DataError(f"{where}: depth is not finite at {bad} pixels; mark missing readings with 0")
    if low < 0:
        raise DataError(f"{where}: depth goes down to {low:g} m; mark missing readings with 0")
    if high == 0:
        raise DataError(f"{where}: depth is zero everywhere, so no pixel has a reading")
    if high > MAX_INDOOR_METRES and (median := float(np.median(depth[depth > 0]))) > MAX_INDOOR_METRES:
        raise DataError(
            f"{where}: the median depth is {median:g} m; this looks like millimeters, pass depth_scale=0.001"
        )


def check_label(label: Array, num_classes: int | None, where: str) -> None:
    """Raise `DataError` for a label that is no integer in [0, num_classes) and not `IGNORE`."""
    if label.dtype.kind not in "iu":
        raise DataError(f"{where}: labels of type {label.dtype}, expected integers")
    limit = IGNORE if num_classes is None else num_classes
    wrong = (label < 0) | ((label >= limit) & (label != IGNORE))
    if wrong.any():
        raise DataError(
            f"{where}: label {label[wrong].flat[0]} at {wrong.sum()} pixels, expected 0 to {limit - 1}, or "
            f"{IGNORE} for pixels to ignore"
        )


def color_tensor(image: Array) -> Tensor:
    """(H, W[, C]) to (C, H, W) float32; integers are divided by their type's largest value."""
    planes = cv2.split(image)  # several times as fast as a transpose
    tensor = torch.empty((len(planes), *image.shape[:2]))
    for plane, target in zip(planes, tensor, strict=True):
        target.copy_(torch.from_numpy(plane))
    return tensor.div_(float(np.iinfo(image.dtype).max)) if image.dtype.kind == "u" else tensor


def depth_tensor(depth: Array) -> Tensor:
    """(H, W) meters to (1, H, W) float32."""
    return torch.from_numpy(np.ascontiguousarray(depth, dtype=np.float32))[None]


def label_tensor(label: Array) -> Tensor:
    """(H, W) integers to int64."""
    return torch.from_numpy(np.ascontiguousarray(label)).to(torch.int64)
