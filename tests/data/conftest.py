"""Tiny files in the layouts that users have."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from scipy.io import savemat

HEIGHT, WIDTH, FRAMES, RAW_CLASSES = 12, 16, 5, 6


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


@pytest.fixture(scope="session")
def encode_tiff() -> Callable[..., bytes]:
    """A writer of TIFF in one uncompressed strip, for the kinds that no library writes."""
    return _encode_tiff


@pytest.fixture(scope="session")
def pack_bits() -> Callable[[np.ndarray, int], bytes]:
    """Several pixels a byte, the first in the highest bits; the width must fill whole bytes."""
    return _pack_bits


def _encode_tiff(
    pixels: np.ndarray,
    *,
    bits: int = 0,
    photometric: int = 1,
    extra: Sequence[int] = (),
    palette: Sequence[int] = (),
    big_endian: bool = False,
) -> bytes:
    """`pixels` (H, W[, C]); `bits` below 8 are packed, photometric 0 says that 0 is white, 3 a palette."""
    order = ">" if big_endian else "<"
    height, width, samples = (*pixels.shape, 1)[:3]
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if 0 < bits < 8:
        data = _pack_bits(pixels, bits)
    sample_format = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits or 8 * pixels.itemsize] * samples),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: ("I", [0]),
        277: ("H", [samples]),
        278: ("I", [height]),
        279: ("I", [len(data)]),
        320: ("H", [*palette]),
        338: ("H", [*extra]),
        339: ("H", [sample_format] * samples),
    }
    tags = {tag: entry for tag, entry in tags.items() if entry[1]}
    place = 8 + 2 + 12 * len(tags) + 4
    long = {tag: struct.pack(f"{order}{len(v)}{code}", *v) for tag, (code, v) in tags.items()}
    tags[273] = ("I", [place + sum(len(raw) for raw in long.values() if len(raw) > 4)])
    directory, behind = struct.pack(f"{order}H", len(tags)), b""
    for tag, (code, values) in tags.items():
        raw = struct.pack(f"{order}{len(values)}{code}", *values)
        directory += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[code], len(values))
        if len(raw) > 4:
            directory += struct.pack(f"{order}I", place + len(behind))
            behind += raw
        else:
            directory += raw.ljust(4, b"\0")
    head = struct.pack(f"{order}2sHI", b"MM" if big_endian else b"II", 42, 8)
    return head + directory + bytes(4) + behind + data


def _pack_bits(pixels: np.ndarray, bits: int) -> bytes:
    per = 8 // bits
    rows = pixels.reshape(len(pixels), -1, per).astype(int)
    packed = sum(rows[..., k] << bits * (per - 1 - k) for k in range(per))
    return np.asarray(packed).astype(np.uint8).tobytes()
