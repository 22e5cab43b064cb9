"""Tiny files in the layouts that users have."""

from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from scipy.io import savemat

HEIGHT, WIDTH, FRAMES, RAW_CLASSES = 12, 16, 5, 6

Write = Callable[[str, np.ndarray], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a picture (one channel, RGB or RGBA) to a path below the test's folder, as its ending says."""

    def write(name: str, picture: np.ndarray) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, picture)
        elif path.suffix == ".npz":
            np.savez(path, picture)
        else:
            codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
            stored = cv2.cvtColor(picture, codes[picture.shape[2]]) if picture.ndim == 3 else picture
            assert cv2.imwrite(str(path), stored)
        return path

    return write


@pytest.fixture
def frames() -> dict[str, np.ndarray]:
    """Five frames as a person would write them down: rows, columns, channels; raw labels 0 … 6."""
    rng = np.random.default_rng(0)
    raw_depth = rng.uniform(0.7, 9.9, (FRAMES, HEIGHT, WIDTH)).astype("f4")
    inpainted = raw_depth.copy()
    raw_depth[:, 2:4, 5:8] = 0
    return {
        "rgb": rng.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), "u1"),
        "raw_depth": raw_depth,
        "inpainted": inpainted,
        "raw_label": rng.integers(0, RAW_CLASSES + 1, (FRAMES, HEIGHT, WIDTH)).astype("u2"),
        "to_40": np.array([40, 3, 1, 22, 5, 40]),  # of raw labels 1 … 6
        "to_13": np.arange(40) % 13 + 1,  # of classes 1 … 40
    }


@pytest.fixture
def nyu_root(tmp_path: Path, frames: dict[str, np.ndarray]) -> Path:
    """The official files, written as MATLAB does: axes reversed, names as references to UTF-16 codes."""
    root = tmp_path / "nyu"
    root.mkdir()
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        chunked = {"compression": "gzip", "compression_opts": 1}
        file.create_dataset(
            "images", data=frames["rgb"].transpose(0, 3, 2, 1), chunks=(1, 3, 16, 12), **chunked
        )
        for name, key in (("depths", "inpainted"), ("rawDepths", "raw_depth"), ("labels", "raw_label")):
            file.create_dataset(name, data=frames[key].transpose(0, 2, 1), chunks=(1, 16, 12), **chunked)
        names = file.create_dataset("names", (1, RAW_CLASSES), h5py.ref_dtype)
        strings = file.create_group("#refs#")
        for number in range(RAW_CLASSES):
            codes = np.array([[ord(c)] for c in f"thing {number + 1} é"], "u2")
            names[0, number] = strings.create_dataset(f"s{number}", data=codes).ref
    savemat(root / "splits.mat", {"trainNdxs": np.array([[2], [5], [1]]), "testNdxs": np.array([[3], [4]])})
    names_40 = np.array([[f"forty {i}" for i in range(40)]], object)
    savemat(root / "classMapping40.mat", {"mapClass": frames["to_40"][None], "className": names_40})
    names_13 = np.array([[f"thirteen {i}" for i in range(13)]], object)
    struct = {"labels13": frames["to_13"][None], "classNames": names_13}
    savemat(root / "class13Mapping.mat", {"classMapping13": struct})
    return root


@pytest.fixture
def packed_path(tmp_path: Path, frames: dict[str, np.ndarray]) -> Path:
    """Encoded images, as the compact form of NYU-Depth-v2 has them: 39 is the label to ignore."""
    path = tmp_path / "packed.h5"
    depth = np.rint(frames["raw_depth"] * 25).astype("u1")
    label = (frames["raw_label"] * 5 + 9).astype("u1")  # 9, 14, … 39
    encoded = h5py.vlen_dtype(np.uint8)
    with h5py.File(path, "w") as file:
        for name, images in (("rgb", frames["rgb"][..., ::-1]), ("depth", depth), ("label40", label)):
            rows = file.create_dataset(name, (FRAMES,), encoded)
            for row, image in enumerate(images):
                rows[row] = cv2.imencode(".png", np.ascontiguousarray(image))[1].ravel()
        file["depth"].attrs["meters_per_unit"] = 0.04
        file["label40"].attrs["ignore"] = 39
        file["label40"].attrs["names"] = [f"forty {i}" for i in range(40)]
        file["map_40_to_13"] = frames["to_13"]
        file["train"], file["test"] = np.array([1, 4, 0]), np.array([2, 3])
    return path
