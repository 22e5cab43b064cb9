"""One modality of one sample: from the numbers of a file to the tensor that a network sees."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..common import UserError
from .batch import DataError
from .encodings import WITHOUT_HOLES, Encoding
from .io.decode import (
    Array,
    Size,
    as_color,
    check_color,
    check_depth,
    check_label,
    color_tensor,
    depth_tensor,
    label_tensor,
    resize_color,
    resize_depth,
    resize_label,
    resize_readings,
)
from .io.files import load_array
from .io.values import stored_numbers, values_of


def read_modality(
    source: str | os.PathLike[str] | Array,
    name: str,
    *,
    encoding: Encoding | None = None,
    size: Size | None = None,
    resize: str = "stretch",
    made_of: str | None = None,
    where: str = "",
) -> Tensor:
    """A modality of one sample as the runs read it, (C, H, W) float32.

    Args:
        source: a file, or the numbers that one would hold, (H, W[, C]), in RGB order.
        name: of the modality.
        encoding: what the stored numbers mean.
        size: height and width.
        resize: `stretch`: to `size`, whatever the aspect · `center-crop`: the test of ImageNet, the middle of
            an image whose shorter side is 256/224 of `size`.
        made_of: `rgb` if the modality (l, ab, gray) is made of color files.
        where: the sample, for messages; the file if absent.

    Raises:
        DataError: a file that is missing or damaged, numbers of unknown unit, values out of range.
    """
    encoding = encoding or Encoding()
    stored = made_of or name
    if not isinstance(source, np.ndarray):
        where = where or os.fspath(source)
        source = load_array(Path(source), keep_alpha=encoding.channel is not None)
    where = where or "the array"
    if resize == "center-crop":
        if size is None:
            raise UserError("center-crop needs a size")
        tensor = in_unit_range(test_crop(size[0])(torch.from_numpy(as_color(source, where)).permute(2, 0, 1)))
    else:
        numbers = stored_numbers(source, stored, encoding, where)
        array = values_of(numbers, stored, encoding, where)
        check_modality(stored, array, None, where)
        tensor = modality_tensor(stored, array, size)
    if made_of is not None and made_of != name:
        from .transforms.channels import CHANNELS, ChannelModalities  # kornia takes its time

        if made_of != "rgb" or name not in CHANNELS:
            raise DataError(f"{name} is not made of {made_of}")
        tensor = ChannelModalities(name)({made_of: tensor[None]})[name][0]
    return tensor


def test_crop(size: int) -> Callable[[Tensor], Tensor]:
    """The published test of ImageNet on (3, H, W) uint8: shorter side to size · 256/224, then the middle."""
    from torchvision.transforms import v2

    transform: Callable[[Tensor], Tensor] = v2.Compose(
        [v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size)]
    )
    return transform


def in_unit_range(image: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]."""
    return image.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def check_modality(name: str, array: Array, num_classes: int | None, where: str) -> None:
    """Raise `DataError` for values out of the modality's range, as they are stored: resizing could hide a
    wrong pixel."""
    if name == "depth":
        check_depth(array, where)
    elif name == "label":
        check_label(array, num_classes, where)
    elif name in WITHOUT_HOLES or array.dtype.kind == "u":
        check_color(array, where)
    elif array.dtype.kind == "f" and not np.isfinite(array).any():
        raise DataError(f"{where}: no pixel of {name} has a reading")


def modality_tensor(name: str, array: Array, size: Size | None) -> Tensor:
    """Values (H, W[, C]) as a tensor, resized as suits the modality: (C, H, W) float32, (H, W) int64 for
    `label`."""
    if name == "depth":
        return depth_tensor(array if size is None else resize_depth(array, size))
    if name == "label":
        return label_tensor(array if size is None else resize_label(array, size))
    if name in WITHOUT_HOLES or array.dtype.kind == "u":
        return color_tensor(array if size is None else resize_color(array, size))
    if array.dtype.kind == "f":
        # Infinity is no reading either; color, whose range was checked, has none.
        array = np.where(np.isinf(array), array.dtype.type(np.nan), array)
    else:
        array = array.astype(np.float32)
    return color_tensor(array if size is None else resize_readings(array, size))
