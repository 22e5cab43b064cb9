"""One file of any kind as an array in its stored type."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from crdkit.data import DataError
from crdkit.data.io.decode import decode_image
from crdkit.data.io.files import SUFFIXES, load_array, read_file
from crdkit.data.io.stored import decode_label

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (6, 8), "u1")
COLOR = RNG.integers(0, 256, (6, 8, 3), "u1")
FOUR = RNG.integers(0, 256, (6, 8, 4), "u1")


def same(got: np.ndarray, expected: np.ndarray) -> bool:
    return got.dtype == expected.dtype and got.shape == expected.shape and np.array_equal(got, expected)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp", ".ppm"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(COLOR).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    assert same(load_array(path), COLOR)
    if suffix in (".png", ".tif", ".bmp"):
        Image.fromarray(GRAY).save(path)
        assert same(load_array(path), GRAY)
    assert suffix in SUFFIXES


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_tiff_in_its_stored_type(tmp_path: Path, kind: str, encode_tiff: Callable[..., bytes]) -> None:
    for pixels in (GRAY, COLOR, FOUR):
        stored = (pixels.astype(int) - (100 if kind[0] != "u" else 0)).astype(kind)
        for big_endian in (False, True):
            photometric = 1 if pixels.ndim == 2 else 2
            path = write(
                tmp_path / "a.tiff", encode_tiff(stored, photometric=photometric, big_endian=big_endian)
            )
            assert same(load_array(path, keep_alpha=True), stored)


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_the_fourth_channel_is_kept_if_asked(
    tmp_path: Path, kind: str, encode_tiff: Callable[..., bytes]
) -> None:
    thermal = FOUR.astype(kind) * (1 if kind == "u1" else 257)
    files = {f"a{extra}.tif": encode_tiff(thermal, photometric=2, extra=[extra]) for extra in (0, 1, 2)}
    files["b.png"] = cv2.imencode(".png", thermal[..., [2, 1, 0, 3]])[1].tobytes()
    if kind == "u1":
        Image.fromarray(thermal).save(tmp_path / "c.webp", lossless=True, exact=True)
        files["c.webp"] = (tmp_path / "c.webp").read_bytes()
    for name, data in files.items():
        path = write(tmp_path / name, data)
        assert same(load_array(path, keep_alpha=True), thermal), name
        assert same(load_array(path), thermal[..., :3]), name
    three = write(tmp_path / "d.png", cv2.imencode(".png", COLOR[..., ::-1])[1].tobytes())
    assert same(load_array(three, keep_alpha=True), COLOR)


def test_channels_that_opencv_leaves_out_are_told(tmp_path: Path, encode_tiff: Callable[..., bytes]) -> None:
    for count in (2, 3, 5):
        for kind in ("u1", "u2"):
            pixels = RNG.integers(0, 256, (6, 8, count)).astype(kind)
            path = write(tmp_path / "a.tif", encode_tiff(pixels, extra=[0] * (count - 1)))
            with pytest.raises(DataError, match=rf"a\.tif.*{count} × {8 * pixels.itemsize}"):
                load_array(path)
    gray_and_alpha = write(tmp_path / "a.tif", encode_tiff(FOUR[..., :2].copy(), extra=[2]))
    assert same(load_array(gray_and_alpha), FOUR[..., 0])
    half = write(tmp_path / "half.tif", encode_tiff(GRAY.astype("f2")))
    with pytest.raises(DataError, match=r"half\.tif.*16 bits"):
        load_array(half)


def test_netpbm_and_pfm_as_stored(tmp_path: Path) -> None:
    deep = RNG.integers(0, 1024, (6, 8)).astype("u2")
    text = " ".join(map(str, deep.ravel())).encode()
    for data in (b"P5 # c\n8 6\n1023\n" + deep.astype(">u2").tobytes(), b"P2\n8\n# c\n6 1023\n" + text):
        assert same(load_array(write(tmp_path / "a.pgm", data)), deep)
    few = GRAY % 16
    text = "\n".join(map(str, few.ravel())).encode()
    for data in (b"P5 8 6 15\n" + few.tobytes(), b"P2 8 6 15\n" + text, b"P2 8 6 15\n" + text + b"\n"):
        assert same(load_array(write(tmp_path / "a.pnm", data)), few)
    text = " ".join(map(str, COLOR.ravel())).encode()
    for data in (b"P6 8 6 255\n" + COLOR.tobytes(), b"P3 8 6 255 " + text):
        assert same(load_array(write(tmp_path / "a.ppm", data)), COLOR)
    bits = GRAY & 1
    for data in (
        b"P4 8 6\n" + np.packbits(bits, axis=1).tobytes(),
        b"P1 8 6 " + str(bits.ravel())[1:-1].encode(),
    ):
        assert same(load_array(write(tmp_path / "a.pbm", data)), 255 * (1 - bits)), "a picture: 1 is black"
    meters = RNG.normal(size=(6, 8)).astype("f4")
    meters[2, 3], meters[4, 5] = np.nan, np.inf
    for scale, order in ((-1.0, "<f4"), (1.0, ">f4"), (-0.003922, "<f4"), (2.0, ">f4")):
        data = b"Pf\n8 6\n%f\n" % scale + meters[::-1].astype(order).tobytes()
        got = load_array(write(tmp_path / "a.pfm", data))
        assert got.dtype == np.float32 and np.array_equal(got, meters, equal_nan=True)
    colors = RNG.normal(size=(6, 8, 3)).astype("f4")
    assert same(load_array(write(tmp_path / "a.pfm", b"PF 8 6 -1\n" + colors[::-1].tobytes())), colors)
    for data in (
        b"P5 8 6 255\n" + bytes(47),
        b"P5 8 6 65535\n" + bytes(95),
        b"P2 8 6 255\n" + b"1 " * 47,
        b"P5 8 6",
        b"Pf 8 6 -1\n" + bytes(191),
        b"P2 8 6 255\n" + b"x " * 48,
        b"P4 9 6\n" + bytes(11),
        b"P5 99999999 99999999 255\n" + bytes(8),
        b"P2 8 6 255\n" + b"-1 " * 48,
    ):
        with pytest.raises(DataError, match=r"a\.pnm"):
            load_array(write(tmp_path / "a.pnm", data))


def test_numpy_files_in_their_stored_type(tmp_path: Path) -> None:
    for kind in ("u1", "i2", "u2", "i4", "i8", "f2", "f4", "f8", "?"):
        for stored in (GRAY.astype(kind), COLOR.astype(kind)):
            np.save(tmp_path / "a.npy", stored)
            assert same(load_array(tmp_path / "a.npy"), stored)
            np.save(tmp_path / "a.npy", stored.astype(stored.dtype.newbyteorder(">")))
            assert (
                same(load_array(tmp_path / "a.npy"), stored) and load_array(tmp_path / "a.npy").dtype.isnative
            )
            np.save(tmp_path / "a.npy", np.asfortranarray(stored))
            assert same(load_array(tmp_path / "a.npy"), stored)
            np.savez_compressed(tmp_path / "a.npz", depth=stored)
            assert same(load_array(tmp_path / "a.npz"), stored)
    assert load_array(tmp_path / "a.npy").flags.writeable and load_array(tmp_path / "a.npz").flags.writeable
    np.savez(tmp_path / "a.npz", rgb=COLOR, depth=GRAY)
    with pytest.raises(DataError, match=r"a\.npz.*2.*rgb, depth"):
        load_array(tmp_path / "a.npz")


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _claiming(shape: str) -> bytes:
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': %b, }" % shape.encode()
    return b"\x93NUMPY\x01\x00v\x00" + head.ljust(117) + b"\n"


BROKEN = {
    "empty": b"",
    "cut": _npy(GRAY)[:-1],
    "head alone": _npy(GRAY)[:40],
    "objects": _npy(np.array([{"a": 1}], object)),
    "records": _npy(np.zeros((6, 8), [("a", "f4"), ("é", "f4")])),
    "text": _npy(np.full((6, 8), "a")),
    "complex": _npy(GRAY.astype("c8")),
    "4 TiB": _claiming("(1048576, 1048576)"),
    "negative": _claiming("(-1, 8)"),
    "nothing": _npy(np.zeros((0, 8))),
    "one axis": _npy(np.zeros(8)),
    "brackets": b"\x93NUMPY\x02\x00" + (9000).to_bytes(4, "little") + b"(" * 8999 + b"\n",
    "version": b"\x93NUMPY\x09\x00" + bytes(200),
    "page": b"<html>404</html>",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_numpy_files_are_named(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=r"a\.npy"):
        load_array(write(tmp_path / "a.npy", BROKEN[kind]))
    if BROKEN[kind].startswith(b"\x93"):
        import zipfile

        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("depth.npy", BROKEN[kind])
        with pytest.raises(DataError, match=r"a\.npz"):
            load_array(tmp_path / "a.npz")


def test_a_damaged_npz_is_named(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", depth=RNG.normal(size=(60, 80)))
    whole = (tmp_path / "a.npz").read_bytes()
    for place in range(0, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        write(tmp_path / "b.npz", bytes(damaged))
        try:
            assert same(load_array(tmp_path / "b.npz"), load_array(tmp_path / "a.npz")), place
        except DataError as error:
            assert "b.npz" in str(error)
    with pytest.raises(DataError, match=r"b\.npz"):
        load_array(write(tmp_path / "b.npz", whole[:-30]))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for data in (b"", b"no image", b"\x76\x2f\x31\x01" + bytes(300)):
        with pytest.raises(DataError, match=r"a\.exr"):
            load_array(write(tmp_path / "a.exr", data))
    with pytest.raises(DataError, match="EXR"):
        load_array(tmp_path / "a.exr")
    with pytest.raises(DataError, match=r"gone\.png"):
        load_array(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"a\.png.*4"):
        decode_image(np.zeros(4, "u1"), "a.png")


@pytest.mark.parametrize("kind", [".png", ".jpg", ".gif", "part"])
def test_an_image_cannot_claim_more_than_its_bytes_hold(tmp_path: Path, kind: str) -> None:
    """They would be allocated: 3 GB for these."""
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), "u1")
    if kind == ".gif":
        Image.fromarray(pixels[..., 0]).save(path, "GIF")
        data = bytearray(path.read_bytes())
        data[6:10] = struct.pack("<HH", 32000, 32000)
    else:
        data = bytearray(cv2.imencode(kind if kind == ".jpg" else ".png", pixels)[1])
    if kind == ".png":
        data[16:24] = struct.pack(">II", 32000, 32000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == ".jpg":
        place = data.index(b"\xff\xc0")
        data[place + 5 : place + 9] = struct.pack(">HH", 32000, 32000)
    elif kind == "part":
        data[33:33] = struct.pack(">I", 2**31 - 1) + b"tEXt"
    path.write_bytes(data)
    for read in (load_array, lambda path: decode_label(read_file(path), str(path))):
        with pytest.raises(DataError, match=r"a\.png.*claim.*damaged"):
            read(path)


def test_opencv_says_nothing_of_a_damaged_file_and_keeps_its_log_level(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENCV_LOG_LEVEL", raising=False)
    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_WARNING)
    try:
        png = cv2.imencode(".png", GRAY)[1].tobytes()
        cut = write(tmp_path / "a.png", png[: len(png) // 2])
        cv2.imdecode(read_file(cut), cv2.IMREAD_UNCHANGED)
        assert capfd.readouterr().err  # what a user would see
        with pytest.raises(DataError, match=r"a\.png"):
            load_array(cut)
        assert capfd.readouterr().err == "" and log.getLogLevel() == log.LOG_LEVEL_WARNING
    finally:
        log.setLogLevel(before)
