"""Paired modalities in one HDF5 file: pixels, classes, splits, damage, worker processes."""

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader

from crdkit.data import IGNORE, DataError, collate
from crdkit.recordings import NYUDepth, PackedPairs


def test_serves_the_stored_pixels_in_the_splits_order(packed_path: Path, frames: dict) -> None:
    dataset = PackedPairs(packed_path, "train", classes=40)
    assert len(dataset) == 3
    for index, row in enumerate((1, 4, 0)):
        sample = dataset[index]
        assert sample["index"].item() == index
        torch.testing.assert_close(
            sample["rgb"],
            torch.from_numpy(frames["rgb"][row].transpose(2, 0, 1) / 255).float(),
            rtol=0,
            atol=1e-7,
        )
        expected = torch.from_numpy(frames["raw_depth"][row])[None]
        torch.testing.assert_close(sample["depth"], expected, rtol=0, atol=0.0201)
        assert torch.equal(sample["depth"] == 0, expected == 0)
        stored = torch.from_numpy(frames["raw_label"][row].astype("i8") * 5 + 9)
        assert torch.equal(sample["label"], torch.where(stored == 39, IGNORE, stored))


def test_13_classes_come_through_the_map_in_the_file(packed_path: Path, frames: dict) -> None:
    forty, thirteen = (PackedPairs(packed_path, "test", classes=c) for c in (40, 13))
    assert (forty.num_classes, thirteen.num_classes) == (40, 13)
    for a, b in zip(forty, thirteen, strict=True):
        expected = torch.where(a["label"] == IGNORE, IGNORE, a["label"] % 13)
        assert torch.equal(b["label"], expected)


def test_users_own_arrays_and_names(tmp_path: Path) -> None:
    path = tmp_path / "own.h5"
    thermal = np.linspace(0, 1, 4 * 6 * 8, dtype="f4").reshape(4, 6, 8)
    mask = np.full((4, 6, 8), -1, "i4")
    mask[:, 3] = 7
    with h5py.File(path, "w") as file:
        file["images"] = np.arange(4 * 6 * 8 * 3, dtype="u1").reshape(4, 6, 8, 3)
        file["millimeters"] = np.full((4, 6, 8), 1500, "u2")
        file["thermal"], file["mask"] = thermal, mask
        file["mask"].attrs["ignore"] = -1
    names = {"rgb": "images", "depth": "millimeters", "thermal": "thermal", "label": "mask"}
    dataset = PackedPairs(path, modalities=names, depth_scale=0.001)
    sample = dataset[2]
    assert torch.equal(sample["thermal"][0], torch.from_numpy(thermal[2]))
    assert sample["depth"].unique().tolist() == pytest.approx([1.5])
    assert sample["label"].unique().tolist() == [7, IGNORE]
    with pytest.raises(DataError, match="depth_scale"):
        PackedPairs(path, modalities=names)


def test_resizing_averages_readings_only_and_adds_no_class(packed_path: Path) -> None:
    full, half = (PackedPairs(packed_path, "train", classes=13, size=s) for s in (None, (6, 8)))
    for a, b in zip(full, half, strict=True):
        assert b["rgb"].shape == (3, 6, 8) and b["depth"].shape == (1, 6, 8) and b["label"].shape == (6, 8)
        assert set(b["label"].unique().tolist()) <= set(a["label"].unique().tolist())
        blocks = a["depth"][0].reshape(6, 2, 8, 2).permute(0, 2, 1, 3).reshape(6, 8, 4)
        count = (blocks > 0).sum(-1)
        expected = torch.where(count >= 2, blocks.sum(-1) / count.clamp_min(1), 0.0)
        torch.testing.assert_close(b["depth"][0], expected)
        assert (b["depth"] == 0).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("depth"), r"found .*rgb \(5,\)"),
        (lambda f: f.pop("test"), r"'test'.*\(3,\)"),
        (
            lambda f: (f.pop("rgb"), f.update(rgb=np.zeros((4, 12, 16, 3), "u1"))),
            r"'rgb'.*4",
        ),
        (
            lambda f: (f.pop("rgb"), f.update(rgb=np.zeros(5, "u1"))),
            r"\(5,\).*\(N, H, W\)",
        ),
        (lambda f: (f.pop("test"), f.update(test=np.array([1, 5]))), r"5.*5"),
        (lambda f: (f.pop("map_40_to_13"), f.update(map_40_to_13=np.arange(12))), "40"),
    ],
)
def test_a_wrong_layout_is_named_at_construction(packed_path: Path, change, message: str) -> None:
    class Members:
        """The two operations of a dict that the cases use, on an HDF5 file."""

        def __init__(self, file: h5py.File) -> None:
            self.file = file

        def pop(self, name: str) -> None:
            del self.file[name]

        def update(self, **new: np.ndarray) -> None:
            for name, value in new.items():
                self.file[name] = value

    with h5py.File(packed_path, "r+") as file:
        change(Members(file))
    with pytest.raises(DataError, match=message):
        PackedPairs(
            packed_path, "test", classes=13, modalities={"rgb": "rgb", "depth": "depth", "label": "label40"}
        )


def test_a_file_that_is_none_is_refused(tmp_path: Path, packed_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.h5"):
        PackedPairs(tmp_path / "gone.h5")
    os.truncate(packed_path, packed_path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"packed\.h5.*HDF5"):
        PackedPairs(packed_path)
    packed_path.write_text("<html>404 not found</html>")
    with pytest.raises(DataError, match=r"HDF5.*26"):
        PackedPairs(packed_path)


def test_a_damaged_sample_is_named(tmp_path: Path, packed_path: Path) -> None:
    with h5py.File(packed_path, "r+") as file:
        file["rgb"][4] = np.frombuffer(b"no image at all", "u1")
    with pytest.raises(DataError, match=r"rgb\[4\].*15"):
        PackedPairs(packed_path, "train")[1]

    raw = tmp_path / "raw.h5"
    with h5py.File(raw, "w") as file:
        file.create_dataset("rgb", data=np.zeros((3, 6, 8, 3), "u1"), chunks=(1, 6, 8, 3), fletcher32=True)
        place = file["rgb"].id.get_chunk_info(1).byte_offset
    with open(raw, "r+b") as handle:
        handle.seek(place)
        handle.write(b"\xff")
    dataset = PackedPairs(raw)
    assert dataset[0]["rgb"].max() == 0
    with pytest.raises(DataError, match=r"rgb\[1\]"):
        dataset[1]


def _with_depth(path: Path, depth: np.ndarray) -> PackedPairs:
    with h5py.File(path, "w") as file:
        file["depth"] = depth[None]
    return PackedPairs(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"depth\[0\].*depth.*48"),
        (0.0, r"depth\[0\].*depth"),
        (-1.0, r"depth\[0\].*-1"),
        (1500.0, r"depth\[0\].*1500.*depth_scale=0.001"),
    ],
)
def test_depth_out_of_range_is_told_with_file_and_value(tmp_path: Path, value: float, message: str) -> None:
    dataset = _with_depth(tmp_path / "depth.h5", np.full((6, 8), value, "f4"))
    with pytest.raises(DataError, match=message):
        dataset[0]


def test_a_few_far_readings_are_no_millimeters(tmp_path: Path) -> None:
    depth = np.full((6, 8), 3.0, "f4")
    depth[0, 0] = 200
    assert _with_depth(tmp_path / "depth.h5", depth)[0]["depth"].max() == 200


def test_color_and_label_out_of_range_are_told(packed_path: Path, tmp_path: Path) -> None:
    with h5py.File(packed_path, "r+") as file:
        del file["label40"]
        file["label40"] = np.full((5, 12, 16), 41, "u1")
    for classes in (13, 40):
        with pytest.raises(DataError, match=r"label40\[1\].*41.*192.*0.*39"):
            PackedPairs(packed_path, "train", classes=classes)[0]
    path = tmp_path / "color.h5"
    with h5py.File(path, "w") as file:
        file["rgb"] = np.full((1, 6, 8, 3), 200.0, "f4")
    with pytest.raises(DataError, match=r"rgb\[0\].*float32.*200.*200.*\[0, 1\]"):
        PackedPairs(path)[0]


def test_views_of_different_sizes_need_a_size(packed_path: Path) -> None:
    with h5py.File(packed_path, "r+") as file:
        del file["depth"]
        file["depth"] = np.ones((5, 6, 8), "f4")
    with pytest.raises(DataError, match=r"rgb\[1\].*12×16.*depth\[1\].*6×8"):
        PackedPairs(packed_path, "train")[0]
    assert PackedPairs(packed_path, "train", size=(6, 8))[0]["depth"].shape == (1, 6, 8)


def test_arguments_are_checked(packed_path: Path) -> None:
    with pytest.raises(ValueError, match=r"classes.*13.*40.*20"):
        PackedPairs(packed_path, classes=20)
    with pytest.raises(ValueError, match=r"size.*\(0, 4\)"):
        PackedPairs(packed_path, size=(0, 4))
    with pytest.raises(IndexError):
        PackedPairs(packed_path)[5]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_every_start_method_serve_the_same(packed_path: Path, nyu_root: Path, method: str) -> None:
    dataset = ConcatDataset([PackedPairs(packed_path, classes=13), NYUDepth(nyu_root, classes=13)])
    expected = [
        collate([dataset[i] for i in rows]) for rows in ((0, 1, 2, 3), (4, 5, 6, 7))
    ]  # handles are open
    loader = DataLoader(dataset, 4, num_workers=1, collate_fn=collate, multiprocessing_context=method)
    batches = list(loader)
    assert len(batches) == 2
    for batch, plain in zip(batches, expected, strict=True):
        assert batch.keys() == plain.keys() == {"index", "rgb", "depth", "label"}
        assert all(torch.equal(batch[name], plain[name]) for name in plain)


def test_an_open_data_set_pickles_without_its_handle(packed_path: Path) -> None:
    dataset = PackedPairs(packed_path, "train", classes=13)
    before = dataset[1]
    copy = pickle.loads(pickle.dumps(dataset))
    assert all(torch.equal(copy[1][name], before[name]) for name in before)


def test_the_unit_of_depth_in_files_of_the_first_release(packed_path: Path) -> None:
    now = PackedPairs(packed_path, "train")[0]["depth"]
    with h5py.File(packed_path, "r+") as file:
        file["depth"].attrs["metres_per_unit"] = file["depth"].attrs.pop("meters_per_unit")
    assert torch.equal(PackedPairs(packed_path, "train")[0]["depth"], now)


@pytest.mark.realdata
def test_reads_the_packed_nyu() -> None:
    path = Path(os.environ.get("CRDKIT_DATA", "")) / "nyuv2.h5"
    if "CRDKIT_DATA" not in os.environ or not path.is_file():
        pytest.skip("CRDKIT_DATA names no folder with nyuv2.h5")
    train, test = (PackedPairs(path, split, classes=13, size=(48, 64)) for split in ("train", "test"))
    assert (len(train), len(test), train.num_classes) == (795, 654, 13)
    assert train.class_names[11] == "wall"
    assert not set(train.rows) & set(test.rows)
    batch = collate([train[i] for i in range(0, 795, 100)])
    assert 1.5 < batch["depth"].mean() < 4.5
    wall = (batch["label"] == 11).float().mean()
    assert 0.1 < wall < 0.6
