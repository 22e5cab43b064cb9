"""How a modality is pictured: any number of channels as RGB, the samples of a picture on one scale."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .canvas import IGNORE_COLOR

LIGHTNESS = 62.0
"""L of the pictures of `ab`, at which most of its colors are within RGB."""


class Pictured(NamedTuple):
    """Samples of a modality as images."""

    images: npt.NDArray[np.uint8]
    """(B, H, W, 3)."""
    words: str
    """What a color means, for a caption; empty if it is plain."""


def pictured(name: str, batch: Any) -> Pictured:
    """Images of a modality: `rgb`, `gray` and `l` as they are, `ab` at one lightness, one channel in a
    perceptual colormap, two channels of one sign (events: on, off) as red and blue, two of both signs (flow)
    by direction and length, three as red, green and blue, more by their first three. Of what has no known
    range the 2nd to the 98th percentile of all samples is shown. NaN, and 0 of `depth`, are gray.

    Args:
        name: of the modality.
        batch: (B, C, H, W).
    """
    planes = np.asarray(batch, np.float64)
    known = np.isfinite(planes) & (planes > 0 if name == "depth" else True)
    planes = np.where(known, planes, 0.0)
    images, words = _colors(name, planes, known)
    images[~known.all(1)] = np.array(IGNORE_COLOR) / 255
    return Pictured((images.clip(0, 1) * 255).round().astype(np.uint8), words)


def _colors(name: str, planes: Any, known: Any) -> tuple[Any, str]:
    """(B, H, W, 3) in [0, 1] of (B, C, H, W)."""
    channels = planes.shape[1]
    if name == "rgb" and channels == 3:
        return np.moveaxis(planes, 1, -1).clip(0, 1), ""
    if name == "ab" and channels == 2:
        return _color_alone(planes), "the color alone, at one lightness"
    if name in ("gray", "l") and channels == 1:
        plane = planes[:, 0] if name == "gray" else (planes[:, 0] + 1) / 2
        return np.repeat(plane[..., None].clip(0, 1), 3, axis=-1), ""
    if channels == 1:
        from matplotlib import colormaps

        near = name == "depth"
        image = colormaps["viridis_r" if near else "inferno"](_scaled(planes, known)[:, 0])[..., :3]
        return image, "near is bright, gray is without reading" if near else "low is dark, high is bright"
    if channels == 2:
        if (planes < 0).any() and (planes > 0).any():
            return _directions(planes), "the hue is the direction, the saturation the length"
        share = _scaled(planes, known, low=0.0)
        # White less what the other channel's color absorbs.
        red, blue = share[:, 0], share[:, 1]
        image = np.stack([1 - 0.9 * blue, 1 - 0.8 * np.maximum(red, blue), 1 - 0.9 * red], axis=-1)
        return image, "the first channel is red, the second blue"
    image = np.moveaxis(_scaled(planes, known)[:, :3], 1, -1).copy()
    return image, "the first three channels are red, green and blue"


def _scaled(planes: Any, known: Any, *, low: float | None = None) -> Any:
    """In [0, 1]: the 2nd to the 98th percentile of what is known, or `low` to the latter."""
    if not known.any():
        return np.zeros_like(planes)
    least, most = np.percentile(planes[known], (2, 98))
    if low is not None:
        least = low
        if most <= low:  # few pixels have any
            most = planes[known].max()
    return ((planes - least) / (most - least or 1.0)).clip(0, 1)


def _color_alone(planes: Any) -> Any:
    import cv2

    rest = np.moveaxis(planes, 1, -1) * 110  # as `crdkit.data` stores ab
    lab = np.concatenate([np.full((*rest.shape[:-1], 1), LIGHTNESS), rest], axis=-1).astype(np.float32)
    return np.stack([cv2.cvtColor(image, cv2.COLOR_Lab2RGB) for image in lab]).astype(np.float64).clip(0, 1)


def _directions(planes: Any) -> Any:
    from matplotlib.colors import hsv_to_rgb

    across, down = planes[:, 0], planes[:, 1]
    length = np.hypot(across, down)
    hue = (np.arctan2(down, across) / (2 * np.pi)) % 1
    share = (length / (np.percentile(length, 98) or 1.0)).clip(0, 1)
    return hsv_to_rgb(np.stack([hue, share, np.ones_like(hue)], axis=-1))
