"""Modalities made of an image's own channels, by name: lightness, color, gray."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from kornia.color import rgb_to_grayscale, rgb_to_lab, rgb_to_linear_rgb
from torch import Tensor, nn

from ..batch import Batch, BatchDataset, DataError
from ..reading import read_rows

CHANNELS: Mapping[str, int] = {"rgb": 3, "gray": 1, "l": 1, "ab": 2}
"""The modalities that an RGB image has in itself, and their channels."""


def lab_modalities(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Lightness and color of images, in CIE Lab (D65): L/50 − 1 and ab/110.

    L is 0 … 100, a −86.2 … 98.2 and b −107.9 … 94.5 over all of RGB, so both are in [-1, 1]. In fp32 under
    any autocast, as bf16 errs by half a unit of L.

    Args:
        rgb: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) and (B, 2, H, W), fp32.

    Raises:
        DataError: values outside [0, 1], such as 0–255, which would give an L of thousands without a word.
    """
    _check_unit(rgb)
    with torch.autocast(rgb.device.type, enabled=False):
        # kornia sends its constants to the device in every call, and a GPU's step would wait for them.
        lab = rgb_to_lab(rgb.float()) if rgb.device.type == "cpu" else lab_without_constants(rgb.float())
    return lab[:, :1] / 50 - 1, lab[:, 1:] / 110


def lab_without_constants(rgb: Tensor) -> Tensor:
    """CIE Lab (D65) of (B, 3, H, W) in [0, 1], of the same shape, with numbers for the matrix and the white
    point (IEC 61966-2-1), so that nothing is sent to a device."""
    red, green, blue = rgb_to_linear_rgb(rgb).unbind(1)
    x = (0.412453 * red + 0.357580 * green + 0.180423 * blue) / 0.95047
    y = 0.212671 * red + 0.715160 * green + 0.072169 * blue
    z = (0.019334 * red + 0.119193 * green + 0.950227 * blue) / 1.08883
    cubes = (t.clamp_min(0.008856) ** (1 / 3) for t in (x, y, z))
    lines = (7.787 * t + 4 / 29 for t in (x, y, z))
    fx, fy, fz = (torch.where(t > 0.008856, c, f) for t, c, f in zip((x, y, z), cubes, lines, strict=True))
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=1)


class ChannelModalities(nn.Module):
    """Puts the named modalities of a batch's `rgb` in its place; modalities that the batch has already pass.

    Args:
        names: of `CHANNELS`, or names that the batch has, such as `depth`.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """A batch without `rgb` unless that is one of the names; (B, C, H, W) for each."""
        result = {name: value for name, value in batch.items() if name != "rgb"}
        makers: dict[str, Callable[[], Tensor]] = {
            "rgb": lambda: batch["rgb"],
            "gray": lambda: rgb_to_grayscale(batch["rgb"]),
            "l": lambda: lab_modalities(batch["rgb"])[0],
            "ab": lambda: lab_modalities(batch["rgb"])[1],
        }
        if "rgb" in batch and {"l", "ab"} <= set(self.names):  # one conversion for both
            result["l"], result["ab"] = lab_modalities(batch["rgb"])
        for name in self.names:
            if name in result:
                continue
            if name not in makers or "rgb" not in batch:
                raise DataError(f"no modality {name!r}: the batch has {', '.join(batch)}; {_known()}")
            result[name] = makers[name]()
        return result


class ChannelDataset(BatchDataset):
    """A data set of `rgb` served as its named modalities; the rest of a sample passes.

    Args:
        dataset: `__len__` and `__getitem__` or `__getitems__`.
        names: as for `ChannelModalities`.
    """

    def __init__(self, dataset: Any, names: Sequence[str]) -> None:
        self.dataset = dataset
        self.select = ChannelModalities(*names)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        served: Batch = self.select(read_rows(self.dataset, indices))
        return served


def _check_unit(rgb: Tensor) -> None:
    # On a GPU a look at the values would make every step wait; bytes, which most sets store, cannot be wrong.
    if rgb.device.type != "cpu":
        return
    low, high = float(rgb.min()), float(rgb.max())
    if not (low >= 0 and high <= 1 + 1e-6):  # also for NaN
        raise DataError(f"rgb values from {low:g} to {high:g}, expected [0, 1]; divide 0–255 by 255")


def _known() -> str:
    return f"of rgb there are {', '.join(CHANNELS)}"
