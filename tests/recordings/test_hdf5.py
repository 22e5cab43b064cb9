"""HDF5 files: what keeps one from being read is told, layouts are found, no other file is opened."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from crdkit.data import IGNORE, DataError, PackedImages
from crdkit.data.io.hdf5_values import texts
from crdkit.recordings import NYUDepth, PackedPairs

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 16, 24, 3), "u1")

HOLD = """
import h5py, os, sys
file = h5py.File(sys.argv[1], "a")
print("open", flush=True)
sys.stdin.read()
os._exit(0)
"""
"""A writer that ends without closing its file."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.h5"


def encode(images: np.ndarray, kind: str = ".png") -> list[np.ndarray]:
    return [cv2.imencode(kind, np.ascontiguousarray(image))[1].ravel() for image in images]


def write_encoded(file: h5py.File, name: str, buffers: list[np.ndarray]) -> None:
    rows = file.create_dataset(name, (len(buffers),), h5py.vlen_dtype(np.uint8))
    for row, buffer in enumerate(buffers):
        rows[row] = buffer


def message(path: Path) -> str:
    with pytest.raises(DataError, match=r"a\.h5") as caught:
        PackedPairs(path)[0]
    return str(caught.value)


def test_locked_left_open_cut_foreign_and_damaged_are_told_apart(path: Path) -> None:
    def write() -> None:
        with h5py.File(path, "w", libver="latest") as file:
            file["rgb"] = PIXELS

    write()
    writer = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout and writer.stdin
    writer.stdout.readline()
    told = [message(path)]
    writer.stdin.close()  # it ends without closing the file
    writer.wait()
    writer.stdout.close()
    told.append(message(path))
    write()
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    told.append(message(path))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    told.append(message(path))
    path.write_bytes(b"<!DOCTYPE html><html></html>")
    told.append(message(path))
    path.write_bytes(whole[:12] + bytes(36) + whole[48:])
    told.append(message(path))
    words = ("locked", "h5clear", f"{len(whole) - 100} of {len(whole)}", "108", "web page", "damaged")
    for text, word in zip(told, words, strict=True):
        assert word in text and "HDF5" in text
    assert not any("damaged" in text or "get it again" in text for text in told[:2])
    assert len(set(told)) == 6


def test_a_compression_that_is_not_there_is_named(path: Path) -> None:
    with h5py.File(path, "w") as file:
        space, layout = h5py.h5s.create_simple((6, 16, 24, 3)), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk((1, 16, 24, 3))
        layout.set_filter(499, h5py.h5z.FLAG_OPTIONAL, (0,))
        h5py.h5d.create(file.id, b"rgb", h5py.h5t.NATIVE_UINT8, space, layout)
    text = message(path)
    assert "499" in text and "hdf5plugin" in text and "damaged" not in text


def external_storage(file: h5py.File, other: Path, name: str) -> None:
    file.create_dataset(name, (6, 16, 24), np.uint8, external=[(str(other), 0, 6 * 16 * 24)])


def external_link(file: h5py.File, other: Path, name: str) -> None:
    file[name] = h5py.ExternalLink(str(other), "/label")


def soft_to_external(file: h5py.File, other: Path, name: str) -> None:
    file["far"] = h5py.ExternalLink(str(other), "/")
    file["near"] = h5py.SoftLink("/far/label")
    file[name] = h5py.SoftLink("near")


def virtual(file: h5py.File, other: Path, name: str) -> None:
    layout = h5py.VirtualLayout((6, 16, 24), np.uint8)
    layout[:] = h5py.VirtualSource(str(other), "label", (6, 16, 24))
    file.create_virtual_dataset(name, layout)


WAYS = [external_storage, external_link, soft_to_external, virtual]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_other_file_is_read(tmp_path: Path, path: Path, way: Callable[..., None]) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["label"] = np.full((6, 16, 24), 7, "u1")
    with h5py.File(path, "w") as file:
        file["rgb"] = PIXELS
        way(file, other, "label")
    assert "label" in message(path)
    for name in ("train", "group", "depth"):
        with h5py.File(path, "w") as file:
            file["rgb"] = PIXELS
            way(file, other, name)
        with pytest.raises(DataError, match=rf"a\.h5.*{name}"):
            PackedPairs(path, "train" if name == "train" else None)
    for name in ("images", "labels"):
        with h5py.File(path, "w") as file:
            file.create_group("train")
            if name == "labels":
                file["train/images"] = PIXELS
            way(file, other, f"train/{name}")
        with pytest.raises(DataError, match=rf"a\.h5.*{name}"):
            PackedImages(path)
    with h5py.File(path, "w") as file:
        file["train"] = h5py.ExternalLink(str(other), "/")
    with pytest.raises(DataError, match=r"a\.h5.*train"):
        PackedImages(path)


def test_links_inside_the_file_are_followed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["deep/pixels"] = PIXELS
        file["deep/also"] = h5py.SoftLink("pixels")
        file["rgb"] = h5py.SoftLink("/deep/also")
        file["depth"] = h5py.SoftLink("/depth")
    assert list(PackedPairs(path).modalities) == ["rgb"]
    assert np.array_equal((PackedPairs(path)[3]["rgb"] * 255).round().byte().permute(1, 2, 0), PIXELS[3])


def test_names_of_nyu_point_into_their_own_file(nyu_root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 10)
    with h5py.File(nyu_root / "nyu_depth_v2_labeled.mat", "r+") as file:
        planted = file.create_dataset("planted", (8,), "u2", external=[(str(secret), 0, 16)])
        file["names"][0, 2] = planted.ref
    with pytest.raises(DataError, match="planted"):
        NYUDepth(nyu_root)


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_plain_arrays_of_images(path: Path, kind: str) -> None:
    stored = PIXELS.astype(kind) * (1 if kind == "u1" else 256)
    expected = PIXELS.transpose(0, 3, 1, 2)
    four = np.concatenate([stored, stored[..., :1]], 3)
    gray = np.repeat(expected[:, :1], 3, 1)
    for array, wanted in (
        (stored, expected),
        (stored.transpose(0, 3, 1, 2), expected),
        (four, expected),
        (four.transpose(0, 3, 1, 2), expected),
        (stored[..., 0], gray),
        (stored[..., :1], gray),
        (stored[:, None, ..., 0], gray),
    ):
        with h5py.File(path, "w") as file:
            file["train/images"], file["train/labels"] = array, np.arange(6) % 2
        assert np.array_equal(PackedImages(path).tensors["rgb"].numpy(), wanted), array.shape
        assert PackedImages(path, classes=None, size=(8, 12)).tensors["rgb"].shape == (6, 3, 8, 12)
    for array in (stored.astype("f4"), stored.reshape(6, -1), np.array([b"x"] * 6), stored[..., :2]):
        with h5py.File(path, "w") as file:
            file["train/images"] = array
        with pytest.raises(DataError, match=r"a\.h5.*expected") as caught:
            PackedImages(path)
        assert "damaged" not in str(caught.value)


def test_plain_arrays_of_pairs(path: Path) -> None:
    meters, label = np.full((6, 16, 24), 2.5, "f4"), (PIXELS[..., 0] % 5).astype("u1")
    samples = []
    for last in (True, False):
        axis = 3 if last else 1
        with h5py.File(path, "w") as file:
            file["rgb"] = PIXELS if last else PIXELS.transpose(0, 3, 1, 2)
            file["depth"], file["label"] = np.expand_dims(meters, axis), np.expand_dims(label, axis)
            file["flow"] = (PIXELS[..., :2] if last else PIXELS[..., :2].transpose(0, 3, 1, 2)) / np.float32(
                255
            )
        names = {"rgb": "rgb", "depth": "depth", "label": "label", "flow": "flow"}
        samples.append(PackedPairs(path, modalities=names)[4])
    for name, value in samples[0].items():
        assert value.equal(samples[1][name]), name
    assert samples[0]["depth"].shape == (1, 16, 24) and samples[0]["flow"].shape == (2, 16, 24)
    assert np.array_equal(samples[0]["label"], label[4])
    with h5py.File(path, "w") as file:
        file["depth"] = PIXELS.astype("f4")
    with pytest.raises(DataError, match=r"depth\[0\].*3 channels"):
        PackedPairs(path)[0]


def test_encoded_labels_are_the_stored_numbers(path: Path, packed_path: Path) -> None:
    from PIL import Image

    label = (np.arange(6 * 16 * 24).reshape(6, 16, 24) % 5).astype("u1")
    label[:, 0] = IGNORE
    buffers = []
    for row in label:
        image = Image.fromarray(row, mode="L").convert("P")
        image.putdata(row.ravel().tolist())
        image.putpalette([number * 3 % 256 for number in range(768)])
        image.save(path.with_suffix(".png"))
        buffers.append(np.fromfile(path.with_suffix(".png"), "u1"))
    with h5py.File(path, "w") as file:
        write_encoded(file, "rgb", encode(PIXELS))
        write_encoded(file, "label", buffers)
    assert np.array_equal(PackedPairs(path)[2]["label"], label[2])
    with h5py.File(path, "w") as file:
        write_encoded(file, "label", encode(label, ".jpg"))
    with pytest.raises(DataError, match=r"label\[0\].*JPEG"):
        PackedPairs(path)[0]


def test_groups_and_rows_without_labels(path: Path) -> None:
    recordings = ["b", "a", "b", "c", "a", "c"]
    with h5py.File(path, "w") as file:
        file["rgb"] = PIXELS
        file["label"] = np.zeros((4, 16, 24), "u1")
        file["train"], file["unlabeled"] = np.array([3, 0]), np.array([5, 4, 1])
        file["group"] = np.array([7, 1, 7, 9, 1, 9], "i2")
    unlabeled = PackedPairs(path, "unlabeled")
    assert set(unlabeled[0]) == {"index", "rgb"} and unlabeled.rows.tolist() == [5, 4, 1]
    assert unlabeled.groups is not None and unlabeled.groups.dtype == np.int64
    assert unlabeled.groups.tolist() == [9, 1, 1]
    del unlabeled  # and its handle
    with pytest.raises(DataError, match="4"):
        PackedPairs(path, "train")
    for names in (recordings, np.array(recordings, "S"), [name.encode() for name in recordings]):
        with h5py.File(path, "r+") as file:
            del file["label"], file["group"]
            file["label"], file["group"] = np.zeros((6, 16, 24), "u1"), names
        assert PackedPairs(path, "train").groups.tolist() == [2, 1]
        assert PackedPairs(path, "unlabeled").groups.tolist() == [2, 0, 0]
        assert PackedPairs(path).groups.tolist() == [1, 0, 1, 2, 0, 2]
    with h5py.File(path, "r+") as file:
        del file["group"]
        file["group"] = np.arange(5)
    with pytest.raises(DataError, match=r"group.*\(5,\).*6"):
        PackedPairs(path)
    with h5py.File(path, "r+") as file:
        del file["group"]
    assert PackedPairs(path).groups is None


def test_names_stored_as_bytes(path: Path) -> None:
    for names in (
        ["cat", "señal"],
        np.array(["cat", "señal"], h5py.string_dtype()),
        [b"cat", "señal".encode()],
    ):
        with h5py.File(path, "w") as file:
            file["train/images"], file["train/labels"] = PIXELS, np.arange(6) % 2
            file.attrs["classes"] = names
            file["label"] = np.zeros((6, 16, 24), "u1")
            file["label"].attrs["names"] = names
        assert PackedImages(path).class_names == PackedPairs(path).class_names == ("cat", "señal")
    assert texts(np.array([b"se\xf1al"])) == ("señal",)
    assert texts("cat") == texts(b"cat") == ("cat",) and texts(None) == texts(h5py.Empty("f4")) == ()


def test_damaged_metadata_are_data_errors(path: Path) -> None:
    """A byte at a time: the file is read or refused by its name."""
    with h5py.File(path, "w") as file:
        file["rgb"], file["train"] = PIXELS[:2, :4, :6], np.array([1, 0])
    whole = path.read_bytes()
    outcomes = set()
    for place in np.flatnonzero(np.frombuffer(whole, "u1"))[::4]:
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.unlink()  # the library knows an open file by its inode
        path.write_bytes(bytes(damaged))
        try:
            PackedPairs(path, "train")[0]
            outcomes.add("read")
        except DataError as error:
            assert "a.h5" in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_what_a_file_cannot_hold_is_not_allocated(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("rgb", (2, 2**20, 2**20), "u1", chunks=(1, 64, 64), compression="gzip")
    assert "a row of rgb claims 1099511627776 bytes" in message(path)
    path.unlink()  # which is still open
    with h5py.File(path, "w") as file:
        file["rgb"] = PIXELS
        file.create_dataset("train", (2**40,), "i8", chunks=(64,))
    with pytest.raises(DataError, match=r"a\.h5: train claims 8796093022208 bytes"):
        PackedPairs(path, "train")
    for block in (0, 512):
        path.unlink()
        with h5py.File(path, "w", userblock_size=block) as file:
            write_encoded(file, "rgb", encode(PIXELS))
            place = file["rgb"].id.get_offset()
        assert PackedPairs(path)[1]["rgb"].shape == (3, 16, 24)
        whole = path.read_bytes()
        for start, value, word in ((16, 2**32 - 1, "length"), (20, 2**31, "heap"), (20, 8, "heap")):
            damaged = bytearray(whole)
            damaged[place + start : place + start + 4] = value.to_bytes(4, "little")
            path.unlink()
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=rf"a\.h5: rgb\[1\].*{word}"):
                PackedPairs(path)[1]


@pytest.mark.parametrize(
    ("name", "value"), [("ignore", "none"), ("ignore", [1, 2]), ("names", 5), ("names", [0.5, 1.5])]
)
def test_attributes_of_another_type_are_named(path: Path, name: str, value: object) -> None:
    with h5py.File(path, "w") as file:
        file["label"] = PIXELS[..., 0] % 5
        file["label"].attrs[name] = value
    assert f"the attribute {name} of label is" in message(path)


def test_other_attributes_of_another_type(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["depth"] = PIXELS[..., 0]
        file["depth"].attrs["meters_per_unit"] = "a thousandth"
    assert "the attribute meters_per_unit of depth is 'a thousandth', expected a number" in message(path)
    with h5py.File(path, "w") as file:
        file["train/images"], file["train/labels"] = PIXELS, np.arange(6) % 2
        file.attrs["classes"] = 2
    with pytest.raises(DataError, match=r"a\.h5: the attribute classes of the file is"):
        PackedImages(path)
    with h5py.File(path, "w") as file:
        file["train/images"] = h5py.Empty("u1")
    with pytest.raises(DataError, match=r"a\.h5: train/images"):
        PackedImages(path)
