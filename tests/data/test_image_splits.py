"""Both splits of labeled images, by a configuration."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, get_worker_info

from crdkit.data import ImageAugment, ImagesConfig, ImageSplits, Statistics, load_splits
from crdkit.engine import digest
from crdkit.pipelines import fingerprint_of

CPU = torch.device("cpu")


def test_small_sets_are_augmented_on_the_device_and_tested_plain() -> None:
    images = load_splits(ImagesConfig("digits", classes=3), CPU)
    assert isinstance(images.augment, ImageAugment) and images.num_classes == 3
    assert isinstance(
        load_splits(ImagesConfig("digits", classes=3), CPU, augment=False).augment, torch.nn.Identity
    )
    shade = images.train[0]["rgb"].mean()
    assert 0 < shade < 1 and images.statistics is None
    assert images.measure_statistics().mean["rgb"] != (0.0, 0.0, 0.0)


def test_figures_that_are_given_are_taken() -> None:
    config = ImagesConfig("digits", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert load_splits(config, CPU).statistics.std == {"rgb": (0.4, 0.5, 0.6)}
    with pytest.raises(ValueError, match="mean"):
        ImagesConfig(mean=(0.5, 0.5, 0.5))


def test_fingerprints_are_of_the_pixels_and_not_of_the_place() -> None:
    config = ImagesConfig("digits", classes=3)
    images = load_splits(config, CPU)
    found = fingerprint_of(config, images)
    assert found == fingerprint_of(ImagesConfig("digits", Path("elsewhere"), classes=3), images)
    assert found["data_digest"] == digest(images.train.tensors)
    images.train.tensors["rgb"][0, 0, 0, 0] += 1
    assert fingerprint_of(config, images)["data_digest"] != found["data_digest"]


def test_statistics_of_a_folder_are_those_of_its_training_images(tmp_path: Path) -> None:
    for split, levels in (("train", (40, 80)), ("val", (200, 240))):
        for label, level in enumerate(levels):
            place = tmp_path / split / f"class-{label}"
            place.mkdir(parents=True)
            Image.new("RGB", (40, 40), (level, level, level)).save(place / "0.png")
    config = ImagesConfig("folder", tmp_path, size=32)
    statistics = load_splits(config, CPU).measure_statistics()
    assert statistics.mean["rgb"] == pytest.approx([60 / 255] * 3, rel=1e-5)
    assert statistics.std["rgb"] == pytest.approx([20 / 255] * 3, rel=1e-5)


def test_statistics_come_back_from_json_and_workers_change_nothing() -> None:
    images = load_splits(ImagesConfig("digits", classes=3), CPU)
    found = images.measure_statistics()
    assert Statistics.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    assert images.measure_statistics(num_workers=2) == found


def test_statistics_are_measured_by_the_workers_that_were_asked_for() -> None:
    class WhoReads(Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
            return {"rgb": torch.full((3, 2, 2), 0.0 if get_worker_info() is None else 1.0)}

    images = ImageSplits(None, None, None, torch.nn.Identity(), plain=WhoReads())
    assert images.measure_statistics().mean["rgb"] == (0.0, 0.0, 0.0)
    assert images.measure_statistics(num_workers=1).mean["rgb"] == (1.0, 1.0, 1.0)
