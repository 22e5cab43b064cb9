"""A user's own files: the parts that there are, what their numbers mean, where they are kept."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch

from crdkit.crossmodal import DataConfig, load_samples
from crdkit.data import DataError, JoinedPairs, PairedTensors, read_rows
from crdkit.recordings import FolderPairs, StoredPairs

SIZE = (24, 32)


def write(place: Path, seed: int, *, label: np.ndarray | None = None, scale: int = 1000) -> None:
    """A pair at `place` below rgb/ and depth/ of its part, and its label map."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (4, 5, 3)).astype(np.uint8)
    pictures = {
        "rgb": cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC),
        "depth": (rng.uniform(1, 5, SIZE) * scale).astype(np.uint16),
    }
    if label is not None:
        pictures["label"] = label.astype(np.uint8)
    part, name = place.parent, place.name
    for modality, picture in pictures.items():
        (part / modality).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(part / modality / f"{name}.png"), picture)


def classes(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, SIZE)


def three_parts(root: Path) -> DataConfig:
    for number in range(4):
        write(root / f"train/{number}", number, label=classes(number))
        write(root / f"unlabeled/{number}", 10 + number)
    write(root / "test/0", 20, label=classes(20))
    return DataConfig("folder", root, SIZE, classes=3)


def test_parts_are_read_as_they_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = three_parts(tmp_path)
    samples = load_samples(config)
    assert [len(p) for p in (samples.train, samples.test, samples.unlabeled)] == [4, 1, 4]
    assert samples.is_labeled and samples.num_classes == 3 and samples.group is None
    stored = cv2.imread(str(tmp_path / "unlabeled/depth/3.png"), cv2.IMREAD_UNCHANGED)
    served = samples.pairs("rgb", "depth")[7]["depth"][0]
    assert torch.allclose(served, torch.from_numpy(stored.astype(np.float32)) / 1000)
    assert "depth: millimeters" in capsys.readouterr().out
    for part in ("train", "test"):
        for file in (tmp_path / part / "label").iterdir():
            file.unlink()
        (tmp_path / part / "label").rmdir()
    bare = load_samples(config)
    assert not bare.is_labeled and len(bare.pairs("depth")) == 8
    with pytest.raises(DataError, match="thermal"):
        load_samples(config, ("rgb", "thermal"))


def test_each_modality_has_its_size(tmp_path: Path) -> None:
    config = replace(three_parts(tmp_path), sizes={"rgb": (48, 64), "label": (12, 16)})
    sample = load_samples(config).train[0]
    assert [tuple(sample[name].shape[-2:]) for name in ("rgb", "depth", "label")] == [
        (48, 64),
        (24, 32),
        (12, 16),
    ]
    with pytest.raises(DataError, match="one size"):
        load_samples(DataConfig(sizes={"rgb": (48, 64)}, train_samples=1, test_samples=1))


@pytest.mark.parametrize("cached", [False, True])
def test_what_does_not_fit_is_read_from_disk_with_the_same_values(
    tmp_path: Path, cached: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    config = three_parts(tmp_path / "data")
    memory = load_samples(config)
    less = replace(config, memory=1e-9, cache=tmp_path / "cache" if cached else None)
    disk = load_samples(less)
    assert isinstance(memory.train, PairedTensors)
    assert isinstance(disk.train, StoredPairs if cached else FolderPairs)
    assert isinstance(disk.pairs("rgb", "depth"), JoinedPairs)
    for rows in ([0, 7, 4], [5]):
        one, other = (read_rows(s.pairs("rgb", "depth"), rows) for s in (memory, disk))
        assert all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()
    assert torch.equal(
        read_rows(disk.labeled(0.5, 1), [1])["label"], memory.labeled(0.5, 1)[1]["label"][None]
    )
    said = capsys.readouterr().out
    if not cached:
        assert "--data.cache" in said
        return
    folders = sorted((tmp_path / "cache").iterdir())
    assert len(folders) == 3 and "MiB" in said
    times = [file.stat().st_mtime_ns for folder in folders for file in folder.iterdir()]
    load_samples(less)
    assert times == [file.stat().st_mtime_ns for folder in folders for file in folder.iterdir()]
    write(tmp_path / "data/test/1", 21, label=classes(21))
    load_samples(less)
    assert (
        len(list((tmp_path / "cache").iterdir())) == 4
    )  # another test part: decoded anew, beside the others


def test_a_folder_without_parts_is_split_by_recording(tmp_path: Path) -> None:
    for recording in range(5):
        for frame in range(3):
            for modality in ("rgb", "depth"):
                (tmp_path / modality / f"rec{recording}").mkdir(parents=True, exist_ok=True)
            write(tmp_path / "x", 10 * recording + frame)
            for modality in ("rgb", "depth"):
                (tmp_path / modality / "x.png").rename(tmp_path / modality / f"rec{recording}/{frame}.png")
    config = DataConfig("folder", tmp_path, SIZE)
    with pytest.raises(DataError, match=r"data\.group"):
        load_samples(config)
    samples = load_samples(replace(config, group="parent"))
    assert [len(samples.train), len(samples.test)] == [12, 3]
    assert samples.group is not None and samples.group.tolist() == [g for g in range(4) for _ in range(3)]
    known = {d["depth"].sum().item() for d in samples.train}
    assert not known & {d["depth"].sum().item() for d in samples.test}
    other = load_samples(replace(config, group=r"rec(\d)", seed=3))
    assert [len(other.train), len(other.test)] == [12, 3]


def table(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_table_names_paths_groups_and_parts(tmp_path: Path) -> None:
    three_parts(tmp_path)
    rows = [
        {
            "rgb": f"{part}/rgb/{number}.png",
            "depth": f"{part}/depth/{number}.png",
            "label": f"{part}/label/{number}.png" if part != "unlabeled" else "",
            "split": part,
            "group": f"{part[0]}{number % 2}",
        }
        for part, count in (("unlabeled", 4), ("train", 4), ("test", 1))
        for number in range(count)
    ]
    config = DataConfig("folder", table(tmp_path / "pairs.csv", rows), SIZE, classes=3)
    samples = load_samples(config)
    assert [len(p) for p in (samples.train, samples.test, samples.unlabeled)] == [4, 1, 4]
    assert samples.is_labeled and samples.group is not None
    assert samples.group.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]  # t0, t1, u0, u1: train comes first
    whole = [{**row, "split": ""} for row in rows if row["label"]]
    split = load_samples(replace(config, root=table(tmp_path / "whole.csv", whole)))
    assert len(split.train) + len(split.test) == 5 and split.is_labeled
    with pytest.raises(DataError, match="validation"):
        bad = [{**row, "split": "validation"} for row in rows]
        load_samples(replace(config, root=table(tmp_path / "bad.csv", bad)))


def test_what_looks_wrong_is_told_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = three_parts(tmp_path)
    write(tmp_path / "test/9", 2, label=classes(9))  # a training frame once more
    load_samples(replace(config, classes=4))
    said = capsys.readouterr().out
    assert "frames of test" in said and "class 3" in said
    with pytest.raises(ValueError, match="thermal"):
        load_samples(replace(config, encoding=("thermal.unit=raw",)))
    with pytest.raises(ValueError, match="NAME=FOLDER"):
        load_samples(replace(config, files=("rgb",)))
    masks = DataConfig("folder", tmp_path / "masks", SIZE, classes=2)
    for part in ("train", "test"):
        write(tmp_path / f"masks/{part}/0", len(part), label=np.eye(*SIZE) * 255)
    with pytest.raises(DataError, match=r"label\.values"):
        load_samples(masks)
    right = load_samples(replace(masks, encoding=("label.values=0,255",)))
    assert right.train[0]["label"].unique().tolist() == [0, 1]
    other = replace(config, files=("depth=d",))
    for part in ("train", "test", "unlabeled"):
        (tmp_path / part / "depth").rename(tmp_path / part / "d")
    assert len(load_samples(other).train) == 4


def test_a_packed_file_has_parts_groups_and_any_modality(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "pairs.h5"
    with h5py.File(path, "w") as file:
        file["rgb"] = generator.integers(0, 256, (9, *SIZE, 3)).astype(np.uint8)
        file["heat"] = generator.uniform(20, 30, (9, *SIZE)).astype(np.float32)
        file["label"] = np.stack([classes(seed) for seed in range(9)]).astype(np.uint8)
        file["group"] = np.repeat([0, 1, 2], 3)
        for part, rows in (("train", [0, 1, 2]), ("test", [3, 4]), ("unlabeled", [5, 6, 7, 8])):
            file[part] = rows
    config = DataConfig("folder", path, SIZE, classes=3, files=("thermal=heat",))
    for memory in (0.5, 1e-9):
        samples = load_samples(replace(config, memory=memory, cache=tmp_path / "cache"), ("rgb", "thermal"))
        assert samples.is_labeled and samples.group is not None
        assert samples.group.tolist() == [0, 0, 0, 1, 2, 2, 2]
        pairs = samples.pairs("rgb", "thermal")
        assert (
            len(pairs) == 7
            and 20 <= float(pairs[6]["thermal"].min()) <= float(pairs[6]["thermal"].max()) <= 30
        )
    with pytest.raises(ValueError, match="encoding"):
        load_samples(replace(config, encoding=("thermal.unit=raw",)), ("rgb", "thermal"))
    with h5py.File(path, "a") as file:
        del file["heat"]
        file["heat"] = generator.uniform(20, 30, (9, SIZE[1], SIZE[0])).astype(np.float32)
    with pytest.raises(DataError, match="aspect"):
        load_samples(config, ("rgb", "thermal"))
    cut = load_samples(replace(config, encoding=("thermal.fit=crop",)), ("rgb", "thermal"))
    assert cut.train[0]["thermal"].shape == (1, *SIZE)
