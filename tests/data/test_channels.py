"""Views made of an image's own channels."""

import math

import pytest
import torch
from kornia.color import lab_to_rgb, rgb_to_lab

from crdkit.data import (
    ChannelDataset,
    ChannelModalities,
    DataError,
    PairedTensors,
    lab_modalities,
)
from crdkit.data.transforms.channels import lab_without_constants


def naive_lab(r: float, g: float, b: float) -> tuple[float, float, float]:
    """CIE 1976 L*a*b* of one sRGB color under D65."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (r, g, b)]
    weights = (
        (0.412453, 0.357580, 0.180423),
        (0.212671, 0.715160, 0.072169),
        (0.019334, 0.119193, 0.950227),
    )
    white = (0.95047, 1.0, 1.08883)
    x, y, z = (
        sum(w * v for w, v in zip(row, linear, strict=True)) / n
        for row, n in zip(weights, white, strict=True)
    )
    fx, fy, fz = (math.cbrt(t) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize(
    "color", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.2, 0.5, 0.9), (0.01, 0.02, 0.0)]
)
def test_lab_is_the_standards(color: tuple[float, float, float]) -> None:
    light, ab = lab_modalities(torch.tensor(color).view(1, 3, 1, 1))
    expected = naive_lab(*color)
    assert light.item() == pytest.approx(expected[0] / 50 - 1, abs=2e-4)
    assert ab.flatten().tolist() == pytest.approx([expected[1] / 110, expected[2] / 110], abs=2e-3)


def test_views_stay_within_one_and_come_back() -> None:
    rgb = torch.cat([torch.rand(4, 3, 16, 16), torch.eye(3).view(3, 3, 1, 1).expand(3, 3, 16, 16)])
    light, ab = lab_modalities(rgb)
    assert light.shape == (7, 1, 16, 16) and ab.shape == (7, 2, 16, 16)
    assert light.abs().max() <= 1.0001 and ab.abs().max() <= 1
    torch.testing.assert_close(
        lab_to_rgb(torch.cat([(light + 1) * 50, ab * 110], dim=1)), rgb, atol=2e-5, rtol=0
    )


def test_conversion_is_in_full_precision_under_autocast() -> None:
    rgb = torch.rand(2, 3, 8, 8)
    expected = lab_modalities(rgb)
    with torch.autocast("cpu", torch.bfloat16):
        found = lab_modalities(rgb)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)
    assert lab_modalities(rgb.bfloat16())[0].dtype == torch.float32


@pytest.mark.parametrize("scale", [255.0, -1.0, float("nan")])
def test_other_ranges_are_refused(scale: float) -> None:
    with pytest.raises(DataError, match=r"\[0, 1\].*0–255.*255"):
        lab_modalities(torch.rand(1, 3, 4, 4) * scale + 0.0)


def test_named_views_take_the_place_of_rgb() -> None:
    batch = {"rgb": torch.rand(2, 3, 4, 4), "depth": torch.rand(2, 1, 4, 4), "label": torch.tensor([0, 1])}
    found = ChannelModalities("l", "ab")(batch)
    assert sorted(found) == ["ab", "depth", "l", "label"]
    light, ab = lab_modalities(batch["rgb"])
    assert torch.equal(found["l"], light) and torch.equal(found["ab"], ab)
    gray = ChannelModalities("rgb", "gray")(batch)
    luma = (batch["rgb"] * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(gray["gray"], luma)
    assert torch.equal(gray["rgb"], batch["rgb"])
    assert torch.equal(ChannelModalities("rgb", "depth")(batch)["depth"], batch["depth"])
    with pytest.raises(DataError, match="'thermal'"):
        ChannelModalities("rgb", "thermal")(batch)


def test_data_set_serves_the_views_row_by_row_and_whole() -> None:
    images = PairedTensors(rgb=torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8), label=torch.arange(5))
    served = ChannelDataset(images, ("l", "ab"))
    batch = served.__getitems__([3, 1])
    assert batch["index"].tolist() == [3, 1] and batch["label"].tolist() == [3, 1] and "rgb" not in batch
    for name in ("l", "ab"):
        torch.testing.assert_close(served[3][name], batch[name][0], atol=1e-6, rtol=0)

    class Rows:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return images[index]

    alone = ChannelDataset(Rows(), ("ab",)).__getitems__([3])["ab"]
    torch.testing.assert_close(alone, batch["ab"][:1], atol=1e-6, rtol=0)
    with pytest.raises(IndexError, match=r"5.*5"):
        served[5]


def test_lab_of_a_gpu_is_that_of_a_cpu() -> None:
    levels = torch.linspace(0, 1, 17)
    rgb = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 17, -1)
    torch.testing.assert_close(lab_without_constants(rgb), rgb_to_lab(rgb), atol=2e-4, rtol=1e-5)
