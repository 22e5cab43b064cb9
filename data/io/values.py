"""Stored numbers of a modality to its values, as its `Encoding` says. Holes: 0 in depth, NaN elsewhere."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..batch import IGNORE, DataError
from ..encodings import METERS, Encoding, Unit
from .arrays import Array
from .decode import check_color, check_depth

SENTINEL = 65535
"""What 16-bit depth holds for a lost reading or the sky, beside 0."""


def stored_numbers(array: Array, name: str, encoding: Encoding, where: str) -> Array:
    """The numbers that a file (H, W[, C]) holds for a modality: type checked, channel chosen, bits in order.

    Raises:
        DataError: another type than `encoding.stored`, a channel that is not there, several values a pixel
            for `depth` or `label`, bits that cannot be packed in such a file.
    """
    if encoding.stored is not None and array.dtype.name != encoding.stored:
        raise DataError(
            f"{where} holds {array.dtype.name}, the other files of {name} {encoding.stored}: one encoding "
            "cannot read both; store all alike"
        )
    if encoding.channel is not None:
        channels = 1 if array.ndim == 2 else array.shape[2]
        if encoding.channel >= channels:
            raise DataError(f"{where} has {channels} channels, no channel {encoding.channel} (from 0)")
        array = array if array.ndim == 2 else np.ascontiguousarray(array[..., encoding.channel])
    if encoding.unit == "packed24":
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise DataError(f"{where}: packed24 needs three channels of 8 bits, got {_kind(array)}")
        array = array.astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
    elif encoding.unit == "sun":
        if array.dtype != np.uint16:
            raise DataError(f"{where}: unit=sun needs 16 bits, got {_kind(array)}")
        array = (array >> 3) | (array << 13)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if name in ("depth", "label") and array.ndim != 2:
        raise DataError(
            f"{where} has {array.shape[2]} channels; {name} needs one value a pixel (choose one with "
            f"{name}.channel)"
        )
    return array


def unit_of(name: str, encoding: Encoding, numbers: Array, where: str) -> Unit:
    """The unit that `auto` stands for. `DataError` for depth in integers, whose unit nobody knows."""
    if encoding.unit != "auto":
        return encoding.unit
    if name != "depth":
        return "color" if name == "rgb" or numbers.dtype.kind == "u" else "raw"
    if numbers.dtype.kind != "f":
        raise DataError(
            f"{where} holds {numbers.dtype} up to {numbers.max()}, of unknown unit; pass depth_scale, meters "
            "a unit (0.001 for millimeters), or say depth.unit, as in --encoding depth.unit=mm"
        )
    return "m"


def values_of(numbers: Array, name: str, encoding: Encoding, where: str) -> Array:
    """What `stored_numbers` gave, as the values of the modality: (H, W[, C]).

    Color keeps its integers (8, 16 bits) and is three channels for `rgb`; units give floats.

    Raises:
        DataError: no reading at all, a label that is not among `encoding.values`, depth or color out of
            range, a logarithm of -1 or less.
    """
    if name == "label":
        return classes(numbers, encoding, where)
    unit = unit_of(name, encoding, numbers, where)
    if unit == "color":
        check_color(numbers, where)
        return np.repeat(numbers[..., None], 3, axis=2) if name == "rgb" and numbers.ndim == 2 else numbers
    holes = _holes(numbers, name, encoding, unit)
    result = _in_unit(numbers, encoding, unit)
    if unit == "disparity":
        holes = holes | ~(numbers > 0)
    if holes.all():
        raise DataError(f"{where}: no pixel of {name} has a reading")
    if name == "depth" and (encoding.clip or encoding.transform != "none"):
        check_depth(np.where(holes, 0, result), where)  # what is out of range must not be moved into it
    if encoding.clip is not None:
        result = result.clip(*encoding.clip)
    if encoding.transform == "log":
        if (low := result[~holes].min()) <= -1:
            raise DataError(f"{where}: log is ln(1 + value), and {name} goes down to {low:g}; clip it")
        result = np.log1p(np.where(holes, 0, result))
    elif encoding.transform == "inverse":
        holes = holes | (result == 0)
        result = np.reciprocal(np.where(holes, 1, result))
    if holes.any():
        result = np.where(holes, result.dtype.type(0 if name == "depth" else np.nan), result)
    return result


def classes(stored: Array, encoding: Encoding, where: str) -> Array:
    """Stored labels (H, W) to classes: their place in `encoding.values`, `IGNORE` for invalid ones.

    255 is to be ignored unless it is one of the values. Raises `DataError` for any other number.
    """
    if (encoding.values is None and not encoding.invalid) or stored.dtype.kind not in "iu":
        return stored
    ignored = among(stored, encoding.invalid or ())
    if encoding.values is None:
        return np.where(ignored, IGNORE, stored)
    order = np.argsort(encoding.values)
    known = np.asarray(encoding.values)[order]
    place = np.searchsorted(known, stored).clip(max=len(known) - 1)
    found = known[place] == stored
    unknown = ~found & ~ignored & (stored != IGNORE)
    if unknown.any():
        raise DataError(
            f"{where}: label {stored[unknown].flat[0]} at {unknown.sum()} pixels is none of label.values "
            f"{encoding.values}; name those to ignore in label.invalid"
        )
    return np.where(found & ~ignored, order[place], IGNORE)


def invalid_numbers(name: str, encoding: Encoding, unit: Unit, dtype: np.dtype[Any]) -> tuple[float, ...]:
    """The stored numbers of a type that are no reading, beside NaN and infinity."""
    if encoding.invalid is not None:
        return encoding.invalid
    if name != "depth" and unit not in METERS:
        return ()
    return (0, SENTINEL) if dtype == np.uint16 else (0,)


def among(numbers: Array, few: Iterable[float]) -> Array:
    """Where one of a few numbers stands; a tenth of the time of `np.isin`."""
    result = np.zeros(numbers.shape, bool)
    for number in few:
        result |= numbers == number
    return result


def _holes(numbers: Array, name: str, encoding: Encoding, unit: Unit) -> Array:
    """Pixels (of every channel) without reading, by the stored numbers."""
    holes = among(numbers, invalid_numbers(name, encoding, unit, numbers.dtype))
    return holes | ~np.isfinite(numbers) if numbers.dtype.kind == "f" else holes


def _in_unit(numbers: Array, encoding: Encoding, unit: Unit) -> Array:
    if unit in ("scale", "packed24"):
        assert encoding.scale is not None
        return _times(numbers, encoding.scale)
    if unit in ("mm", "sun", "kitti"):
        return _times(numbers, 1 / 256 if unit == "kitti" else 0.001)
    if unit == "disparity":
        assert encoding.focal_baseline is not None
        disparity = _times(numbers, encoding.scale or 1.0)
        positive = np.where(disparity > 0, disparity, np.float32(1))
        return np.asarray(np.float32(encoding.focal_baseline) / positive)
    # Meters and own units in floats stay as they are, so that what is resized is what was stored.
    return numbers if numbers.dtype in (np.float32, np.float64) else numbers.astype(np.float32)


def _times(numbers: Array, scale: float) -> Array:
    return np.multiply(numbers, np.float32(scale), dtype=np.float32)


def _kind(array: Array) -> str:
    return f"{1 if array.ndim == 2 else array.shape[2]} × {array.dtype.name}"
