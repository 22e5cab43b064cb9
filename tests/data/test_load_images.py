"""Sources by name, the digits, and the classes of every source."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch

from crdkit.data import SOURCES, DataError, Digits, ImageFolder, PairedTensors, collate, load_images


def make_root(source: str, folder: Path) -> Path | None:
    """Two classes of 32 × 32 in the layout of the source, three images in each split."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (3, 32, 32, 3), "u1"), [1, 0, 1]
    if source == "stl10":
        base = folder / "stl10_binary"
        base.mkdir()
        large = images.repeat(3, axis=1).repeat(3, axis=2).transpose(0, 3, 2, 1)  # by columns
        for name in ("train", "test"):
            (base / f"{name}_X.bin").write_bytes(large.tobytes())
            (base / f"{name}_y.bin").write_bytes(bytes(label + 1 for label in labels))
        (base / "class_names.txt").write_text("a\nb\n")
    elif source == "packed":
        with h5py.File(folder / "images.h5", "w") as file:
            file.attrs["classes"] = ["a", "b"]
            for split in ("train", "test"):
                rows = file.create_dataset(f"{split}/images", (3,), h5py.vlen_dtype(np.uint8))
                for row, image in enumerate(images):
                    rows[row] = cv2.imencode(".png", image)[1].ravel()
                file[f"{split}/labels"] = labels
        return folder / "images.h5"
    elif source in ("folder", "tiny-imagenet"):
        tiny = source == "tiny-imagenet"
        base = folder / "tiny-imagenet-200" if tiny else folder
        annotations = []
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            name = "ab"[label]
            data = cv2.imencode(".jpg", image)[1].tobytes()
            for place in (
                f"train/{name}/images" if tiny else f"train/{name}",
                "val/images" if tiny else f"val/{name}",
            ):
                (base / place).mkdir(parents=True, exist_ok=True)
                (base / place / f"{row}.JPEG").write_bytes(data)
            annotations.append(f"{row}.JPEG\t{name}\t0\t0\t9\t9\n")
        if tiny:
            (base / "val/val_annotations.txt").write_text("".join(annotations))
            (base / "words.txt").write_text("a\ta\nb\tb\n")
    return None if source == "digits" else folder


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"cifar10", "cifar100"}))  # test_cifar.py has those
def test_every_source_keeps_the_contract(tmp_path: Path, source: str, split: str) -> None:
    dataset = load_images(source, make_root(source, tmp_path), split, size=24, classes=2)
    assert dataset.num_classes == 2 == len(dataset.class_names)
    assert dataset.labels.shape == (len(dataset),) and dataset.labels.dtype == torch.int64
    rows = list(range(len(dataset)))[::-1]
    whole = isinstance(dataset, PairedTensors)
    batch = dataset.__getitems__(rows) if whole else collate([dataset[row] for row in rows])
    assert set(batch) == {"index", "rgb", "label"}
    assert batch["index"].tolist() == rows and batch["index"].dtype == torch.int64
    assert batch["rgb"].shape == (len(rows), 3, 24, 24) and batch["rgb"].dtype == torch.float32
    assert batch["rgb"].min() >= 0 and 0.5 < batch["rgb"].max() <= 1
    assert torch.equal(batch["label"], dataset.labels[rows]) and batch["label"].unique().tolist() == [0, 1]
    only = load_images(
        source, tmp_path / "images.h5" if source == "packed" else tmp_path, split, size=24, classes=[1]
    )
    assert (only.num_classes, only.class_names[0]) == (1, dataset.class_names[1])
    assert len(only) == int((dataset.labels == 1).sum()) and not only.labels.any()


def test_names_and_roots_that_are_not_there(tmp_path: Path) -> None:
    for name, hint in (
        ("cifar-100", "did you mean cifar100"),
        ("tiny_imagenet", "did you mean tiny-imagenet"),
        ("xyz", "known: cifar10, cifar100, digits, folder, packed, shapes, stl10, tiny-imagenet"),
    ):
        with pytest.raises(ValueError, match=rf"'{name}'.*{hint}"):
            load_images(name, tmp_path)
    for source, kind in (("cifar10", "folder"), ("packed", "file")):
        with pytest.raises(ValueError, match=rf"{source}.*{kind}"):
            load_images(source)
    with pytest.raises(ValueError, match="size"):
        load_images("digits", size=0)
    with pytest.raises(DataError, match=r"cifar-100-python.*--data\.download"):
        load_images("cifar100", tmp_path)
    assert isinstance(load_images("folder", make_root("folder", tmp_path)), ImageFolder)


def test_the_digits_are_real_and_their_split_is_fixed() -> None:
    from sklearn.datasets import load_digits

    stored = load_digits()
    train, test = Digits("train", size=(8, 8)), Digits("test", size=(8, 8))
    assert (len(train), len(test), train.num_classes) == (1438, 359, 10)
    assert train.class_names == tuple("0123456789")
    pixels = torch.cat([train.tensors["rgb"], test.tensors["rgb"]])
    assert torch.equal(pixels[:, 0], pixels[:, 1]) and torch.equal(pixels[:, 0], pixels[:, 2])
    both = sorted((p.numpy() / 255 * 16).round().astype(int).tobytes() for p in pixels[:, 0])
    assert both == sorted(image.astype(int).tobytes() for image in stored.images), (
        "each digit is in one split"
    )
    for label in range(10):
        share = (test.labels == label).sum() / (stored.target == label).sum()
        assert abs(share - 0.2) < 0.005
    again = Digits("test", size=(8, 8))
    assert torch.equal(again.tensors["rgb"], test.tensors["rgb"]) and torch.equal(again.labels, test.labels)
    generator, drawn = np.random.RandomState(0), []
    for label in range(10):
        rows = np.flatnonzero(stored.target == label)
        drawn += generator.permutation(rows)[: round(len(rows) / 5)].tolist()
    assert test.labels.tolist() == stored.target[sorted(drawn)].tolist()
    assert not torch.equal(Digits("test", size=(8, 8), seed=1).labels, test.labels)


def test_the_digits_are_enlarged_smoothly_and_chosen_by_class() -> None:
    small, large = Digits("test", size=(8, 8)), Digits("test")
    assert large.tensors["rgb"].shape == (359, 3, 32, 32)
    expected = torch.nn.functional.interpolate(
        small.tensors["rgb"].float(), (32, 32), mode="bilinear", align_corners=False
    )
    assert (large.tensors["rgb"] - expected).abs().max() <= 1
    part = Digits("test", classes=["7", 3])
    assert part.class_names == ("7", "3") and part.num_classes == 2
    kept = [row for row, label in enumerate(large.labels.tolist()) if label in (3, 7)]
    assert torch.equal(part.tensors["rgb"], large.tensors["rgb"][kept])
    assert part.labels.tolist() == [0 if large.labels[row] == 7 else 1 for row in kept]
    with pytest.raises(ValueError, match="'val'"):
        Digits("val")
