"""Pictures of one scene by several sensors: aspects compared, fitted, or moved by a homography."""

import json
import math
from pathlib import Path

import cv2
import numpy as np

from ..data import IGNORE, WITHOUT_HOLES, DataError, Fit
from ..data.io.arrays import Array, decode_array
from ..data.io.decode import Size
from ..data.io.files import read_file

SLACK = 0.02
"""Aspects that differ by no more than this share are one scene at two resolutions."""


def same_aspect(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two shapes (H, W, …) have one aspect, but for `SLACK`."""
    ratio = (first[0] * second[1]) / (first[1] * second[0])
    return abs(math.log(ratio)) <= math.log1p(SLACK)


def fit_aspect(array: Array, name: str, fit: Fit, reference: tuple[int, ...]) -> Array:
    """A picture (H, W[, C]) with the aspect of a shape `reference`: cut or padded evenly, or as it is.

    Padding does not count: `IGNORE` in labels, 0 in depth, NaN in floats of other modalities; color gets 0.
    """
    if fit == "stretch":
        return array
    height, width = array.shape[:2]
    fitted_height = round(width * reference[0] / reference[1])
    fitted_width = round(height * reference[1] / reference[0])
    if fit == "crop":
        height, width = max(1, min(height, fitted_height)), max(1, min(width, fitted_width))
        top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
        return np.ascontiguousarray(array[top : top + height, left : left + width])
    height, width = max(height, fitted_height), max(width, fitted_width)
    result = np.empty((height, width, *array.shape[2:]), _type_with_holes(array, name))
    result[...] = hole_of(array, name)
    top, left = (height - array.shape[0]) // 2, (width - array.shape[1]) // 2
    result[top : top + array.shape[0], left : left + array.shape[1]] = array
    return result


def warp_homography(array: Array, name: str, matrix: Array, size: Size) -> Array:
    """A picture (H, W[, C]) in the pixels of another of `size`: color interpolated, the rest nearest.

    Pixels that it does not reach do not count, as in `fit_aspect`.

    Args:
        matrix: (3, 3), takes pixels (x, y, 1) of the picture to those of the other; whole numbers are
            centers of pixels.
    """
    rows, columns = np.indices(size)
    points = np.linalg.inv(matrix) @ np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)])
    in_front = points[2] > 0
    points = points[:2] / np.where(in_front, points[2], 1)
    x, y = (axis.reshape(size) for axis in np.where(in_front, points, -1e4))
    if array.dtype.kind == "u" and name != "label" and (array.ndim == 2 or array.shape[2] <= 4):
        maps = x.astype(np.float32), y.astype(np.float32)
        return np.asarray(cv2.remap(array, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    height, width = array.shape[:2]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    result = np.empty((*size, *array.shape[2:]), _type_with_holes(array, name))
    result[...] = hole_of(array, name)
    result[inside] = array[row[inside], column[inside]]
    return result


def load_homography(path: Path) -> Array:
    """The 3×3 matrix in a text, .npy or .json file. `DataError` for anything else, or a singular one."""
    try:
        if path.suffix.lower() == ".npy":
            matrix = decode_array(read_file(path), str(path))
        elif path.suffix.lower() == ".json":
            matrix = json.loads(path.read_text(encoding="utf-8"))
        else:
            matrix = np.loadtxt(path, delimiter="," if "," in path.read_text(encoding="utf-8") else None)
        matrix = np.asarray(matrix, np.float64)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: no homography, three lines of three numbers ({error})") from error
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix) < 3:
        raise DataError(f"{path}: a homography is an invertible 3×3 matrix, got {matrix.tolist()}")
    return matrix


def hole_of(array: Array, name: str) -> float:
    """What marks a pixel that does not count in an array of modality `name`."""
    if name == "label":
        return IGNORE
    return np.nan if array.dtype.kind == "f" and name != "depth" and name not in WITHOUT_HOLES else 0


def _type_with_holes(array: Array, name: str) -> np.dtype:
    narrow = name == "label" and array.dtype == np.int8
    return np.dtype(np.int16) if narrow else array.dtype
