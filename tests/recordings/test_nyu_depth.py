"""The official layout of NYU-Depth-v2, and its conversion."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from crdkit.data import IGNORE, DataError
from crdkit.recordings import NYUDepth, PackedPairs
from crdkit.recordings.convert import METERS_PER_UNIT, convert_nyu, main


@pytest.mark.parametrize("classes", [13, 40])
def test_reads_matlabs_layout(nyu_root: Path, frames: dict, classes: int) -> None:
    dataset = NYUDepth(nyu_root, "train", classes=classes)
    assert dataset.raw_names[2] == "thing 3 é"
    assert dataset.num_classes == len(dataset.class_names) == classes
    for index, row in enumerate((1, 4, 0)):  # 2, 5, 1 in the file, which counts from 1
        sample = dataset[index]
        assert sample["index"].item() == index
        rgb = torch.from_numpy(frames["rgb"][row].transpose(2, 0, 1) / 255).float()
        torch.testing.assert_close(sample["rgb"], rgb, rtol=0, atol=1e-7)
        assert torch.equal(sample["depth"][0], torch.from_numpy(frames["raw_depth"][row]))
        for y, x in np.ndindex(12, 16):
            raw = int(frames["raw_label"][row, y, x])
            forty = frames["to_40"][raw - 1]
            expected = IGNORE if raw == 0 else (forty if classes == 40 else frames["to_13"][forty - 1]) - 1
            assert sample["label"][y, x] == expected


def test_holes_are_zero_unless_the_filled_depth_is_asked_for(nyu_root: Path, frames: dict) -> None:
    holes = frames["raw_depth"][2] == 0
    assert holes.any()
    sensor, filled = NYUDepth(nyu_root, "test")[0], NYUDepth(nyu_root, "test", inpainted=True)[0]
    assert np.array_equal(sensor["depth"][0].numpy() == 0, holes)
    assert torch.equal(filled["depth"][0], torch.from_numpy(frames["inpainted"][2]))


def test_missing_files_are_listed_with_their_sources(nyu_root: Path, tmp_path: Path) -> None:
    (nyu_root / "splits.mat").unlink()
    (nyu_root / "class13Mapping.mat").unlink()
    assert_names = r"lacks 2 of the files(.|\n)*splits\.mat  from  http(.|\n)*class13Mapping\.mat  from  http"
    with pytest.raises(DataError, match=assert_names):
        NYUDepth(nyu_root, classes=13)
    with pytest.raises(DataError, match=r"files(.|\n)*nyu_depth_v2_labeled\.mat"):
        NYUDepth(tmp_path / "nowhere")


def test_files_that_are_something_else_are_refused(nyu_root: Path) -> None:
    (nyu_root / "classMapping40.mat").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"classMapping40\.mat"):
        NYUDepth(nyu_root)
    with h5py.File(nyu_root / "nyu_depth_v2_labeled.mat", "r+") as file:
        del file["labels"]
        file["labels"] = np.zeros((5, 12, 16), "u2")
    with pytest.raises(DataError, match=r"labels.*\(5, 12, 16\).*\(5, 16, 12\)"):
        NYUDepth(nyu_root)
    os.truncate(nyu_root / "nyu_depth_v2_labeled.mat", 3000)
    with pytest.raises(DataError, match=r"HDF5.*3000"):
        NYUDepth(nyu_root)


def test_a_raw_label_without_a_class_is_told(nyu_root: Path) -> None:
    with h5py.File(nyu_root / "nyu_depth_v2_labeled.mat", "r+") as file:
        file["labels"][2, 0, 0] = 7
    with pytest.raises(DataError, match=r"labels\[2\].*7.*6"):
        NYUDepth(nyu_root, "test")[0]


@pytest.mark.parametrize("size", [None, (6, 8)])
def test_the_converted_file_has_the_same_pixels(nyu_root: Path, tmp_path: Path, size) -> None:
    out = tmp_path / "out.h5"
    convert_nyu(nyu_root, out, size=size)
    for split in ("train", "test"):
        for classes in (13, 40):
            official = NYUDepth(nyu_root, split, classes=classes, size=size)
            packed = PackedPairs(out, split, classes=classes)
            assert packed.class_names == official.class_names
            assert len(packed) == len(official)
            for a, b in zip(official, packed, strict=True):
                assert torch.equal(a["rgb"], b["rgb"])
                assert torch.equal(a["label"], b["label"])
                assert torch.equal(a["depth"] == 0, b["depth"] == 0)
                # half a step, and the rounding of float32 at 10 m
                assert (a["depth"] - b["depth"]).abs().max() <= METERS_PER_UNIT / 2 + 1e-6
    with h5py.File(out) as file:
        assert len(file.attrs["source_sha256"]) == 64


def test_conversion_leaves_nothing_half_done(nyu_root: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out.h5"
    with h5py.File(nyu_root / "nyu_depth_v2_labeled.mat", "r+") as file:
        file["rawDepths"][3, 0, 0] = 17.0
    assert main(["nyu", str(nyu_root), str(out)]) == 1
    assert "rawDepths[3]: a depth of 17 m" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nyu"]
    out.write_text("mine")
    assert main(["nyu", str(nyu_root), str(out)]) == 1
    assert "exists; choose another name" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_the_command_line(nyu_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.h5"
    command = [
        sys.executable,
        "-m",
        "crdkit.recordings.convert",
        "nyu",
        str(nyu_root),
        str(out),
        "--size",
        "6",
        "8",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "wrote" in done.stdout
    assert PackedPairs(out, "test")[0]["rgb"].shape == (3, 6, 8)
    missing = subprocess.run(
        [*command[:4], str(tmp_path / "x"), str(tmp_path / "y.h5")],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr and "splits.mat" in missing.stderr
