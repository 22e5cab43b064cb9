"""Packed images with one label each."""

import os
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch

from crdkit.data import DataError, PackedImages


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.attrs["classes"] = ["cat", "dog", "fox"]
        for split, count in (("train", 4), ("unlabeled", 2)):
            rows = file.create_dataset(f"{split}/images", (count,), h5py.vlen_dtype(np.uint8))
            for row in range(count):
                image = rng.integers(0, 256, (6, 8, 3), "u1")
                file[f"pixels/{split}/{row}"] = image
                rows[row] = cv2.imencode(".png", image[..., ::-1])[1].ravel()
        file["train/labels"] = np.array([2, 0, 1, 1])
    return tmp_path / "images.h5"


def test_serves_pixels_and_labels(path: Path) -> None:
    images = PackedImages(path, "train")
    assert (len(images), images.num_classes, images.class_names) == (4, 3, ("cat", "dog", "fox"))
    batch = images.__getitems__([3, 0])
    assert batch["index"].tolist() == [3, 0] and batch["label"].tolist() == [1, 2]
    assert batch["label"].dtype == torch.int64
    with h5py.File(path) as file:
        pixels = torch.from_numpy(file["pixels/train/3"][:].transpose(2, 0, 1) / 255).float()
    torch.testing.assert_close(batch["rgb"][0], pixels)
    assert set(PackedImages(path, "unlabeled")[0]) == {"index", "rgb"}
    assert PackedImages(path, size=(3, 4))[0]["rgb"].shape == (3, 3, 4)


def test_faults_are_named(path: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'val'; found .*train/images \(4,\)"):
        PackedImages(path, "val")
    with h5py.File(path, "r+") as file:
        file["train/labels"][2] = 3
    with pytest.raises(DataError, match="label 3 of image 2, expected 0 to 2"):
        PackedImages(path)
    with h5py.File(path, "r+") as file:
        file["train/images"][1] = cv2.imencode(".png", np.zeros((5, 5, 3), "u1"))[1].ravel()
    with pytest.raises(DataError, match=r"train/images\[1\] is 5×5, the first is 6×8; pass size"):
        PackedImages(path)
    with h5py.File(path, "r+") as file:
        file["train/images"][1] = np.zeros(9, "u1")
    with pytest.raises(DataError, match=r"train/images\[1\]: 9 bytes that do not decode"):
        PackedImages(path)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "split", "count", "size"),
    [
        ("imagenette96.h5", "test", 3925, 96),
        ("imagenette96.h5", "unlabeled", 5469, 96),
        ("tiny32_base.h5", "test", 5000, 32),
    ],
)
def test_reads_the_packed_sets(name: str, split: str, count: int, size: int) -> None:
    path = Path(os.environ.get("CRDKIT_DATA", "")) / name
    if "CRDKIT_DATA" not in os.environ or not path.is_file():
        pytest.skip(f"CRDKIT_DATA names no folder with {name}")
    images = PackedImages(path, split)
    batch = images.__getitems__(range(0, count, 50))
    assert (len(images), batch["rgb"].shape[-2:]) == (count, (size, size))
    assert 0.3 < batch["rgb"].mean() < 0.6
    assert ("label" in batch) == (split != "unlabeled")
