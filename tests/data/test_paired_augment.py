"""Augmentation: one geometry for all modalities, holes stay holes, photometry where it belongs."""

import math
from dataclasses import replace

import pytest
import torch

from crdkit.data import IGNORE, AugmentConfig, Batch, ImageAugment, ImageAugmentConfig, PairedAugment
from crdkit.data.transforms.color import random_color

STILL = AugmentConfig.none()
MOVING = replace(STILL, crop_scale=(0.3, 0.9), crop_ratio=(0.7, 1.4), flip=0.5)


def make_batch(batch_size: int = 6, height: int = 24, width: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(1)
    depth = torch.rand(batch_size, 1, height, width, generator=generator) * 5 + 1
    holes = torch.rand(depth.shape, generator=generator) < 0.2
    label = torch.randint(0, 13, (batch_size, height, width), generator=generator) * 7
    label[:, :3] = IGNORE
    return {
        "index": torch.arange(batch_size),
        "rgb": torch.rand(batch_size, 3, height, width, generator=generator),
        "depth": depth.masked_fill(holes, 0),
        "label": label,
    }


def test_nothing_happens_at_strength_zero() -> None:
    batch = make_batch()
    result = PairedAugment(STILL)(batch)
    assert result.keys() == batch.keys()
    assert torch.equal(result["label"], batch["label"]) and torch.equal(result["depth"], batch["depth"])
    torch.testing.assert_close(result["rgb"], batch["rgb"], rtol=0, atol=1e-6)


def test_one_geometry_moves_every_view() -> None:
    height, width = 24, 32
    # Each modality carries the same ramps, so that every output pixel tells where each modality took it from.
    y, x = torch.meshgrid(torch.arange(height) + 1.0, torch.arange(width) + 1.0, indexing="ij")
    ramps = torch.stack([x / 64, y / 64, x / 64]).expand(8, 3, height, width)
    number = (y - 1) * width + (x - 1)
    batch = {
        "index": torch.arange(8),
        "rgb": ramps.clone(),
        "depth": (x / 8).expand(8, 1, height, width).clone(),
        "thermal": (y / 8).expand(8, 1, height, width).clone(),
        "label": number.long().expand(8, height, width).clone(),
    }
    torch.manual_seed(3)
    result = PairedAugment(MOVING)(batch)
    from_color = result["rgb"][:, :2] * 64 - 1
    torch.testing.assert_close(from_color[:, :1], result["depth"] * 8 - 1, rtol=0, atol=1e-3)
    torch.testing.assert_close(from_color[:, 1:], result["thermal"] * 8 - 1, rtol=0, atol=1e-3)
    columns, rows = result["label"] % width, result["label"] // width
    assert (from_color[:, 0] - columns).abs().max() <= 0.5 + 1e-3
    assert (from_color[:, 1] - rows).abs().max() <= 0.5 + 1e-3
    directions = {bool(row[0, -1] < row[0, 0]) for row in result["depth"][:, 0]}
    assert directions == {True, False}, "some are mirrored and some are not"
    assert torch.equal(result["index"], batch["index"])


def test_a_flip_alone_is_exact() -> None:
    batch = make_batch()
    result = PairedAugment(replace(STILL, flip=1.0))(batch)
    assert torch.equal(result["label"], batch["label"].flip(-1))
    torch.testing.assert_close(result["depth"], batch["depth"].flip(-1), rtol=0, atol=1e-4)
    torch.testing.assert_close(result["rgb"], batch["rgb"].flip(-1), rtol=0, atol=1e-4)


def test_labels_gain_no_value_and_depth_only_readings() -> None:
    batch = make_batch()
    torch.manual_seed(0)
    result = PairedAugment(MOVING)(batch)
    assert set(result["label"].unique().tolist()) <= set(batch["label"].unique().tolist())
    readings = result["depth"][result["depth"] > 0]
    assert readings.min() >= 1.0 - 1e-5, "a zero was averaged into a reading"
    assert readings.max() <= 6.0 + 1e-5


def test_holes_stay_holes() -> None:
    batch = make_batch()
    batch["label"] = (batch["depth"][:, 0] > 0).long()  # taken by the nearest pixel, as holes must be
    torch.manual_seed(0)
    result = PairedAugment(MOVING)(batch)
    assert torch.equal(result["depth"][:, 0] > 0, result["label"] == 1)
    assert (result["label"] == 0).any()


def test_depth_jitter_scales_and_dropout_loses_blocks() -> None:
    batch = make_batch()
    scaled = PairedAugment(replace(STILL, depth_scale=0.1))(batch)["depth"]
    valid = batch["depth"] > 0
    for before, after, mask in zip(batch["depth"], scaled, valid, strict=True):
        factor = after[mask] / before[mask]
        assert 0.9 <= factor.mean() <= 1.1 and factor.std() < 1e-5
        assert (after[~mask] == 0).all()
    full = {"depth": torch.ones(64, 1, 32, 32)}
    lost = PairedAugment(replace(STILL, depth_dropout=0.25, depth_block=8))(full)["depth"]
    blocks = lost.reshape(64, 4, 8, 4, 8).permute(0, 1, 3, 2, 4).reshape(-1, 64)
    assert set(blocks.mean(1).tolist()) == {0.0, 1.0}
    assert (blocks[:, 0] == 0).float().mean() == pytest.approx(0.25, abs=0.05)


def test_photometry_is_for_rgb_alone() -> None:
    batch = make_batch() | {"thermal": torch.rand(6, 1, 24, 32)}
    result = PairedAugment(replace(STILL, jitter=1.0))(batch)
    assert not torch.allclose(result["rgb"], batch["rgb"], atol=0.01)
    assert result["rgb"].min() >= 0 and result["rgb"].max() <= 1
    assert all(torch.equal(result[name], batch[name]) for name in ("depth", "label", "thermal"))


@pytest.mark.parametrize("which", ["brightness", "contrast", "saturation", "hue"])
def test_each_color_step_against_its_definition(which: str) -> None:
    """A pixel's loop for one factor, read back from the same draws."""
    rgb = torch.rand(3, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    strengths = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0) | {which: 0.2}
    torch.manual_seed(5)
    result = random_color(rgb, replace(STILL, **strengths, jitter=1.0))
    torch.manual_seed(5)
    draws = torch.rand(6, 3)
    luma_of = torch.tensor([0.299, 0.587, 0.114])
    for image, drawn, out in zip(rgb, draws.T, result, strict=True):
        offset = 2 * drawn[list(strengths).index(which)].item() - 1
        mean = (image.mean((1, 2)) * luma_of).sum()
        for pixel, got in zip(image.flatten(1).T, out.flatten(1).T, strict=True):
            luma = (pixel * luma_of).sum()
            if which == "brightness":
                expected = pixel * (1 + 0.2 * offset)
            elif which == "contrast":
                expected = mean + (pixel - mean) * (1 + 0.2 * offset)
            elif which == "saturation":
                expected = luma + (pixel - luma) * (1 + 0.2 * offset)
            else:
                # The chroma plane: u = 0.492 (B - Y), v = 0.877 (R - Y).
                u, v, turn = 0.492 * (pixel[2] - luma), 0.877 * (pixel[0] - luma), 0.4 * math.pi * offset
                u, v = u * math.cos(turn) - v * math.sin(turn), u * math.sin(turn) + v * math.cos(turn)
                red, blue = luma + v / 0.877, luma + u / 0.492
                expected = torch.stack([red, (luma - 0.299 * red - 0.114 * blue) / 0.587, blue]).clamp(0, 1)
            torch.testing.assert_close(got, expected, rtol=0, atol=4e-3)


def test_grayscale_takes_all_color() -> None:
    rgb = PairedAugment(replace(STILL, grayscale=1.0))(make_batch())["rgb"]
    assert (rgb - rgb.mean(1, keepdim=True)).abs().max() < 4e-3


def test_only_the_global_generator_decides_and_the_input_is_left() -> None:
    batch = make_batch()
    kept = {name: value.clone() for name, value in batch.items()}
    augment = PairedAugment()
    torch.manual_seed(7)
    first, second = augment(batch), augment(batch)
    torch.manual_seed(7)
    again = PairedAugment()(batch)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["rgb"], second["rgb"])
    assert all(torch.equal(batch[name], kept[name]) for name in kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_scale": (0.5, 1.5)}, r"crop_scale.*1.*\(0.5, 1.5\)"),
        ({"crop_ratio": (2.0, 1.0)}, r"crop_ratio.*\(2.0, 1.0\)"),
        ({"flip": 1.5}, r"flip.*0.*1.*1.5"),
        ({"hue": 0.7}, r"hue.*0.*0.5.*0.7"),
        ({"depth_scale": 1.0}, r"depth_scale.*0.*1.*1.0"),
        ({"depth_block": 0}, r"depth_block.*1.*0"),
    ],
)
def test_strengths_are_checked(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**change)


def test_image_augmentation_shifts_by_whole_pixels_or_resizes() -> None:
    batch = {
        "index": torch.arange(32),
        "rgb": torch.rand(32, 3, 12, 12) * 0.8 + 0.1,
        "label": torch.arange(32),
    }
    plain = ImageAugmentConfig(crop="padded", padding=2, flip=0.5, jitter=0.0, grayscale=0.0)
    torch.manual_seed(0)
    result = ImageAugment(plain)(batch)
    assert torch.equal(result["label"], batch["label"]) and torch.equal(result["index"], batch["index"])
    padded = torch.nn.functional.pad(batch["rgb"], (2, 2, 2, 2))
    for image, frame in zip(result["rgb"], padded, strict=True):
        windows = [frame[:, y : y + 12, x : x + 12] for y in range(5) for x in range(5)]
        matches = [
            torch.allclose(image, w, atol=1e-5) or torch.allclose(image, w.flip(-1), atol=1e-5)
            for w in windows
        ]
        assert sum(matches) == 1
    resized = ImageAugment()(batch)["rgb"]
    assert resized.shape == batch["rgb"].shape and not torch.equal(resized, batch["rgb"])
    with pytest.raises(ValueError, match=r"crop.*'resized'.*'padded'.*'center'"):
        ImageAugmentConfig(crop="center")
