"""A folder for each modality: pairing, units, splits, and what goes wrong with them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from crdkit.data import IGNORE, DataError, PairedTensors
from crdkit.recordings import FolderPairs

VIEWS = {"rgb": "images", "depth": "depth", "label": "masks"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in VIEWS.values():
        (tmp_path / folder).mkdir()
    for name in ("a_1", "b_2", "c_3"):
        _write(tmp_path / f"images/{name}.png", rng.integers(0, 256, (6, 8, 3), "u1"))
        _write(tmp_path / f"depth/{name}.png", rng.integers(700, 9000, (6, 8)).astype("u2"))
        _write(tmp_path / f"masks/{name}.png", rng.integers(0, 4, (6, 8), "u1"))
    return tmp_path


def _write(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path), image)


def test_pairs_by_name_in_their_units(root: Path) -> None:
    dataset = FolderPairs(root, VIEWS, num_classes=4, depth_scale=0.001)
    assert (len(dataset), dataset.names) == (3, ["a_1", "b_2", "c_3"])
    for index, name in enumerate(dataset.names):
        sample = dataset[index]
        bgr = cv2.imread(str(root / f"images/{name}.png"))
        expected = torch.from_numpy(bgr[..., ::-1].transpose(2, 0, 1) / 255).float()
        torch.testing.assert_close(sample["rgb"], expected)
        meters = cv2.imread(str(root / f"depth/{name}.png"), cv2.IMREAD_UNCHANGED) / 1000
        torch.testing.assert_close(sample["depth"][0], torch.from_numpy(meters).float())
        assert sample["index"].item() == index and sample["label"].dtype == torch.int64


def test_names_alone_are_those_of_folders(root: Path) -> None:
    (root / "rgb").symlink_to(root / "images")
    for names in (("rgb", "depth"), ["rgb", "depth"]):
        dataset = FolderPairs(root, names, depth_scale=0.001)
        assert dataset.modalities == ("rgb", "depth") and len(dataset) == 3
    assert FolderPairs(root, "rgb").modalities == ("rgb",)
    with pytest.raises(ValueError):
        FolderPairs(root, ())


def test_a_split_is_a_list_or_a_file(root: Path) -> None:
    listed = FolderPairs(root, VIEWS, split=["c_3", "a_1"], depth_scale=0.001)
    (root / "train.txt").write_text("c_3\n\na_1\n")
    filed = FolderPairs(root, VIEWS, split=root / "train.txt", depth_scale=0.001)
    assert listed.names == filed.names == ["c_3", "a_1"]
    with pytest.raises(DataError, match="d_4"):
        FolderPairs(root, VIEWS, split=["a_1", "d_4"])
    with pytest.raises(DataError, match="a_1"):
        FolderPairs(root, VIEWS, split=["a_1", "a_1"])


def test_the_first_names_that_do_not_pair_are_listed(root: Path) -> None:
    (root / "depth/b_2.png").unlink()
    for number in range(7):
        _write(root / f"masks/extra_{number}.png", np.zeros((6, 8), "u1"))
    message = (
        r"images \(3 files\) lacks extra_0, extra_1, extra_2, extra_3, extra_4 and 2 more; "
        r"depth \(2 files\) lacks b_2, extra_0"
    )
    with pytest.raises(DataError, match=message):
        FolderPairs(root, VIEWS)


def test_folders_that_are_missing_or_empty(root: Path) -> None:
    with pytest.raises(DataError, match="depth, images, masks"):
        FolderPairs(root, {"rgb": "image"})
    (root / "void").mkdir()
    with pytest.raises(DataError, match="void"):
        FolderPairs(root, {"rgb": "void"})
    _write(root / "images/a_1.jpg", np.zeros((6, 8, 3), "u1"))
    with pytest.raises(DataError, match=r"a_1\.jpg.*a_1\.png"):
        FolderPairs(root, VIEWS)


def test_ranges_are_told_with_file_and_value(root: Path) -> None:
    with pytest.raises(DataError, match=r"depth/a_1\.png.*uint16.*depth_scale"):
        FolderPairs(root, VIEWS)[0]
    with pytest.raises(DataError, match=r"depth/a_1\.png"):
        FolderPairs(root, VIEWS, depth_scale=1.0)[0]
    _write(root / "masks/b_2.png", np.full((6, 8), 9, "u1"))
    with pytest.raises(DataError, match=r"masks/b_2\.png.*9.*48.*0.*3"):
        FolderPairs(root, VIEWS, num_classes=4, depth_scale=0.001)[1]
    _write(root / "masks/b_2.png", np.full((6, 8), IGNORE, "u1"))
    assert FolderPairs(root, VIEWS, num_classes=4, depth_scale=0.001)[1]["label"].unique() == IGNORE
    (root / "images/c_3.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"images/c_3\.png.*6"):
        FolderPairs(root, VIEWS, depth_scale=0.001)[2]


def test_arrays_in_npy_and_never_a_pickle(root: Path) -> None:
    for name in ("a_1", "b_2", "c_3"):
        (root / f"depth/{name}.png").unlink()
        np.save(root / f"depth/{name}.npy", np.full((6, 8), 2.5))
    assert FolderPairs(root, VIEWS)[0]["depth"].unique().tolist() == [2.5]
    np.save(root / "depth/a_1.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a_1\.npy"):
        FolderPairs(root, VIEWS)[0]


def test_several_sizes_need_one_size(root: Path) -> None:
    for folder, image in (("images", np.zeros((9, 12, 3), "u1")), ("masks", np.zeros((9, 12), "u1"))):
        _write(root / f"{folder}/b_2.png", image)
    _write(root / "depth/b_2.png", np.full((9, 12), 900, "u2"))
    with pytest.raises(DataError, match=r"\b1\b.*size"):
        PairedTensors.from_dataset(FolderPairs(root, VIEWS, depth_scale=0.001))
    memory = PairedTensors.from_dataset(FolderPairs(root, VIEWS, depth_scale=0.001, size=(12, 16)))
    assert memory.tensors["rgb"].shape == (3, 3, 12, 16)
