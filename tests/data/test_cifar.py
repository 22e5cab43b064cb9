"""CIFAR through torchvision, from files in the published layout: whole, spoilt, and meaning harm."""

import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from crdkit.data import CIFAR10, CIFAR100, DataError, load_images

COUNT = 4
FINE = [f"fine {i}" for i in range(100)]
TEN = [f"ten {i}" for i in range(10)]


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (COUNT, 3072), "u1")


def labels(seed: int, classes: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, classes, COUNT).tolist()


def files_of(title: str) -> dict[str, bytes]:
    """The published files; batch i of the pixels has seed i, the test images seed 9."""
    ten = title == "CIFAR10"
    batches = (
        {f"data_batch_{n}": n for n in range(1, 6)} | {"test_batch": 9} if ten else {"train": 1, "test": 9}
    )
    key = "labels" if ten else "fine_labels"
    files = {
        n: pickle.dumps({"data": pixels(i), key: labels(i, 10 if ten else 100)}) for n, i in batches.items()
    }
    meta = {"batches.meta": {"label_names": TEN}} if ten else {"meta": {"fine_label_names": FINE}}
    return files | {name: pickle.dumps(content) for name, content in meta.items()}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture(params=["CIFAR10", "CIFAR100"])
def title(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a data set, whose published files are small ones for the time of a test."""
    name: str = request.param
    files, library = files_of(name), getattr(datasets, name)
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(library, part, [[n, md5(files[n])] for n, _ in getattr(library, part)])
    meta = library.meta["filename"]
    monkeypatch.setattr(library, "meta", {**library.meta, "md5": md5(files[meta])})
    return name


def reader(title: str) -> Any:
    return {"CIFAR10": CIFAR10, "CIFAR100": CIFAR100}[title]


def extract(root: Path, title: str) -> Path:
    folder = root / getattr(datasets, title).base_folder
    folder.mkdir(parents=True)
    for name, data in files_of(title).items():
        (folder / name).write_bytes(data)
    return folder


def pack(root: Path, title: str, monkeypatch: pytest.MonkeyPatch, *, more: tuple[str, ...] = ()) -> Path:
    library = getattr(datasets, title)
    path = root / library.filename
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in {**files_of(title), **dict.fromkeys(more, b"harm")}.items():
            info = tarfile.TarInfo(f"{library.base_folder}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    monkeypatch.setattr(library, "tgz_md5", md5(path.read_bytes()))
    return path


def test_images_and_labels_are_the_published_ones(title: str, tmp_path: Path) -> None:
    folder = extract(tmp_path, title)
    for root in (tmp_path, folder):
        train, test = reader(title)(root), reader(title)(root, "test")
        seeds, classes = (range(1, 6), 10) if title == "CIFAR10" else ([1], 100)
        expected = np.concatenate([pixels(seed) for seed in seeds]).reshape(-1, 3, 32, 32)
        assert torch.equal(train.tensors["rgb"], torch.from_numpy(expected))
        assert train.labels.tolist() == [label for seed in seeds for label in labels(seed, classes)]
        assert test.labels.tolist() == labels(9, classes) and len(test) == COUNT
        assert train.class_names == tuple(TEN if title == "CIFAR10" else FINE)
        assert train.num_classes == classes
        assert torch.equal(train[2]["rgb"], train.tensors["rgb"][2] / 255) and int(train[2]["index"]) == 2


def test_classes_are_chosen_and_sizes_changed(title: str, tmp_path: Path) -> None:
    extract(tmp_path, title)
    whole = reader(title)(tmp_path)
    wanted = sorted(set(whole.labels.tolist()))[:2]
    some = reader(title)(tmp_path, classes=wanted[::-1], size=(16, 16))
    rows = [row for row, label in enumerate(whole.labels.tolist()) if label in wanted]
    assert len(some) == len(rows) and some.tensors["rgb"].shape[2:] == (16, 16)
    assert [wanted[::-1][label] for label in some.labels.tolist()] == [int(whole.labels[row]) for row in rows]
    with pytest.raises(ValueError, match="valid"):
        reader(title)(tmp_path, "valid")


def test_an_archive_is_checked_and_unpacked_once(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path, title, monkeypatch, more=("../outside", "extra"))
    assert len(reader(title)(path)) == len(reader(title)(tmp_path))
    folder = tmp_path / getattr(datasets, title).base_folder
    assert {p.name for p in folder.iterdir()} == set(files_of(title))
    assert not (tmp_path / "outside").exists()
    path.unlink()
    assert len(reader(title)(tmp_path, "test")) == COUNT


class Harm:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("packed", [False, True])
def test_no_file_but_the_published_one_is_unpickled(
    title: str, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm = pickle.dumps(Harm(tmp_path / "harmed"))
    if packed:
        path = pack(tmp_path, title, monkeypatch)
        path.write_bytes(path.read_bytes() + harm)
    else:
        path = extract(tmp_path, title) / getattr(datasets, title).test_list[0][0]
        path.write_bytes(harm)
    with pytest.raises(DataError, match=md5(path.read_bytes())):
        reader(title)(tmp_path)
    assert not (tmp_path / "harmed").exists()


def test_what_is_missing_or_no_archive_is_named(title: str, tmp_path: Path) -> None:
    library = getattr(datasets, title)
    with pytest.raises(DataError, match=rf"{library.filename}.*download"):
        reader(title)(tmp_path)
    (tmp_path / library.filename).write_text("<!DOCTYPE html><html>")
    with pytest.raises(DataError, match="web page"):
        reader(title)(tmp_path)
    folder = extract(tmp_path, title)
    (folder / library.meta["filename"]).unlink()
    with pytest.raises(DataError, match=library.meta["filename"]):
        reader(title)(tmp_path)


def test_a_download_is_checked_and_its_failure_told(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = getattr(datasets, title)
    (tmp_path / "web").mkdir()
    source = pack(tmp_path / "web", title, monkeypatch)
    calls = []

    def download(url: str, root: str, filename: str, md5: str) -> None:
        calls.append(url)
        Path(root, filename).write_bytes(source.read_bytes())

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    name = "cifar10" if title == "CIFAR10" else "cifar100"
    assert len(load_images(name, tmp_path / "own", "test", download=True)) == COUNT
    assert calls == [library.url] and (tmp_path / "own" / library.filename).is_file()

    def refuse(*given: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", refuse)
    with pytest.raises(DataError, match=rf"no network.*{library.filename}"):
        load_images(name, tmp_path / "other", "test", download=True)
    assert not any((tmp_path / "other").iterdir())
