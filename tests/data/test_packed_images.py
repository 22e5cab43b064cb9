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


def test_a_part_of_the_classes_is_renumbered(path: Path) -> None:
    whole = PackedImages(path)
    assert whole.labels.tolist() == [2, 0, 1, 1]
    first = PackedImages(path, classes=2)
    assert (first.class_names, first.num_classes) == (("cat", "dog"), 2)
    assert first.labels.tolist() == [0, 1, 1]
    assert first.__getitems__([2, 0])["index"].tolist() == [2, 0]
    assert torch.equal(first.tensors["rgb"], whole.tensors["rgb"][1:])
    listed = PackedImages(path, classes=["fox", 1])
    assert listed.class_names == ("fox", "dog") and listed.labels.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"images\.h5.*'fix'.*fox"):
        PackedImages(path, classes=["fix"])
    with pytest.raises(ValueError, match=r"3.*classes=4"):
        PackedImages(path, classes=4)
    with pytest.raises(DataError, match="unlabeled"):
        PackedImages(path, "unlabeled", classes=2)
    with pytest.raises(DataError, match="labels"):
        _ = PackedImages(path, "unlabeled").labels
    with h5py.File(path, "r+") as file:
        file["train/images"][0] = np.zeros(9, "u1")  # a fox, which is then not decoded
    assert len(PackedImages(path, classes=2)) == 3


def test_16_bits_keep_their_upper_half(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        pixels = file["pixels/train/0"][:].astype("u2") * 256 + 200
        file["train/images"][0] = cv2.imencode(".png", pixels[..., ::-1])[1].ravel()
        assert np.array_equal(
            PackedImages(path).tensors["rgb"][0].permute(1, 2, 0).numpy(), file["pixels/train/0"][:]
        )


def test_faults_are_named(path: Path) -> None:
    with pytest.raises(DataError, match=r"'val'.*train/images.*\(4,\)"):
        PackedImages(path, "val")
    with h5py.File(path, "r+") as file:
        file["train/labels"][2] = 3
    with pytest.raises(DataError, match=r"3.*2.*0.*2"):
        PackedImages(path)
    with h5py.File(path, "r+") as file:
        file["train/labels"][2] = 1
        file["train/images"][1] = cv2.imencode(".png", np.zeros((5, 5, 3), "u1"))[1].ravel()
    with pytest.raises(DataError, match=r"train/images\[1\].*5×5.*6×8"):
        PackedImages(path)
    with h5py.File(path, "r+") as file:
        file["train/images"][1] = np.zeros(9, "u1")
    with pytest.raises(DataError, match=r"train/images\[1\].*9"):
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


@pytest.mark.realdata
def test_twenty_of_a_hundred_classes_at_half_the_size(real_data: Path) -> None:
    path = real_data / "tiny32_base.h5"
    whole, part = PackedImages(path, "test"), PackedImages(path, "test", classes=20, size=(16, 16))
    assert (len(part), part.num_classes, part.class_names) == (1000, 20, whole.class_names[:20])
    rows = (whole.labels < 20).nonzero().flatten()
    assert torch.equal(part.labels, whole.labels[rows])
    average = whole.tensors["rgb"][rows].float().unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5))
    assert (part.tensors["rgb"] - average).abs().max() <= 0.5
    names = [whole.class_names[number] for number in (70, 3)]
    two = PackedImages(path, "test", classes=names)
    assert two.class_names == tuple(names) and torch.bincount(two.labels).tolist() == [50, 50]
