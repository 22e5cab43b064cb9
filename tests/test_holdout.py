"""The benchmarks' file to choose settings by: its test images are training images of another."""

import importlib
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest


@pytest.fixture
def holdout(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("holdout")


def _images(group: h5py.Group, start: int, count: int) -> None:
    images = group.create_dataset("images", (count,), h5py.vlen_dtype(np.uint8))
    for n in range(count):
        images[n] = np.full(1 + n % 3, start + n, np.uint8)
    group["labels"] = np.arange(start, start + count)


def test_the_training_images_are_split_and_the_test_images_are_left_out(
    holdout: ModuleType, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["classes"] = ["x", "y"]
        _images(file.create_group("train"), 0, 10)
        _images(file.create_group("test"), 100, 5)
        _images(file.create_group("unlabeled"), 200, 4)
    sizes = holdout.write_holdout(tmp_path / "a.h5", tmp_path / "b.h5", 0.3, seed=0)
    assert sizes == {"train": 7, "test": 3}
    with h5py.File(tmp_path / "b.h5") as file:
        found = {part: file[part]["labels"][:].tolist() for part in ("train", "test")}
        assert sorted(found["train"] + found["test"]) == list(range(10))
        for part, labels in found.items():
            for image, label in zip(file[part]["images"], labels, strict=True):
                assert image.tolist() == [label] * (1 + label % 3)
        assert len(file["unlabeled/images"]) == 4 and list(file.attrs["classes"]) == ["x", "y"]
    holdout.write_holdout(tmp_path / "a.h5", tmp_path / "c.h5", 0.3, seed=1)
    with h5py.File(tmp_path / "c.h5") as file:
        assert file["test/labels"][:].tolist() != found["test"]


def test_lists_of_rows_are_split_and_the_images_stay(holdout: ModuleType, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["depth"] = np.arange(8)
        file["train"], file["test"] = np.array([7, 1, 4, 2]), np.array([0, 3])
    holdout.write_holdout(tmp_path / "a.h5", tmp_path / "b.h5", 0.25, seed=0)
    with h5py.File(tmp_path / "b.h5") as file:
        assert sorted([*file["train"][:], *file["test"][:]]) == [1, 2, 4, 7] and len(file["test"]) == 1
        assert file["depth"][:].tolist() == list(range(8))


def test_no_split_is_left_empty_and_no_file_is_overwritten(holdout: ModuleType, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        _images(file.create_group("train"), 0, 4)
    for fraction in (0.0, 0.1, 1.0):
        with pytest.raises(SystemExit, match="leaves a split empty"):
            holdout.write_holdout(tmp_path / "a.h5", tmp_path / "b.h5", fraction, seed=0)
    (tmp_path / "b.h5").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        holdout.write_holdout(tmp_path / "a.h5", tmp_path / "b.h5", 0.5, seed=0)
    assert (tmp_path / "b.h5").read_bytes() == b"mine"
