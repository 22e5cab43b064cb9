"""Label maps are the numbers that a file stores, whatever its bits, palette and container."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from crdkit.data import DataError
from crdkit.data.io.stored import decode_label

HEIGHT, WIDTH = 6, 16


def stored(bits: int) -> np.ndarray:
    """Every number of so many bits, at most 96 of them."""
    largest = 2**bits
    return (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * max(1, largest // 96) % largest).astype(
        np.uint8 if bits <= 8 else np.uint16
    )


def read(data: bytes) -> np.ndarray:
    label = decode_label(np.frombuffer(data, np.uint8), "DIR/a.file")
    assert label.dtype.kind in "iu" and label.shape == (HEIGHT, WIDTH)
    return label


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(
    label: np.ndarray, bits: int, pack: Callable[..., bytes], palette: bytes = b"", more: bytes = b""
) -> bytes:
    """Gray or with a palette."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = pack(label, bits) if bits < 8 else label.astype(label.dtype.newbyteorder(">")).tobytes()
    width = len(packed) // HEIGHT
    lines = b"".join(b"\0" + packed[row * width : (row + 1) * width] for row in range(HEIGHT))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 3 if palette else 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + (chunk(b"PLTE", palette) if palette else b"")
    parts += (chunk(b"tRNS", more) if more else b"") + chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


PALETTES = {
    "color": lambda n: bytes(range(3 * n % 256)) + bytes(3 * n - 3 * n % 256),
    "gray": lambda n: b"".join(bytes([255 * i // max(1, n - 1)] * 3) for i in range(n)),
    "reversed gray": lambda n: b"".join(bytes([255 - 255 * i // max(1, n - 1)] * 3) for i in range(n)),
}


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_of_every_depth(bits: int, pack_bits: Callable[..., bytes]) -> None:
    label = stored(bits)
    assert np.array_equal(read(png(label, bits, pack_bits)), label)
    clear = png(label, bits, pack_bits, more=b"\0\1")  # class 1 is transparent in a viewer
    assert np.array_equal(read(clear), label)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("palette", PALETTES)
def test_png_with_a_palette(bits: int, palette: str, pack_bits: Callable[..., bytes]) -> None:
    label = stored(bits)
    colors = PALETTES[palette](2**bits)
    assert np.array_equal(read(png(label, bits, pack_bits, colors)), label)
    assert np.array_equal(read(png(label, bits, pack_bits, colors, more=b"\0")), label)


@pytest.mark.parametrize("photometric", [0, 1], ids=["0 is white", "0 is black"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_tiff_of_every_depth(bits: int, photometric: int, encode_tiff: Callable[..., bytes]) -> None:
    label = stored(bits)
    data = encode_tiff(label, bits=bits, photometric=photometric)
    assert np.array_equal(read(data), label)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
def test_tiff_of_every_integer(kind: str, encode_tiff: Callable[..., bytes]) -> None:
    label = (stored(4).astype(int) - (3 if kind[0] == "i" else 0)).astype(kind)
    for big_endian in (False, True):
        got = read(encode_tiff(label, big_endian=big_endian))
        assert np.array_equal(got, label) and got.min() == label.min()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_tiff_with_a_palette(bits: int, encode_tiff: Callable[..., bytes]) -> None:
    label = stored(bits)
    colors = [(number * 7919) % 65536 for number in range(3 * 2**bits)]
    assert np.array_equal(read(encode_tiff(label, bits=bits, photometric=3, palette=colors)), label)


def test_compressed_tiff_gif_bmp_and_netpbm() -> None:
    label = stored(8) % 21
    plain = Image.fromarray(label)
    indexed = Image.fromarray(label, mode="L").convert("P")
    indexed.putdata(label.ravel().tolist())
    indexed.putpalette([number * 5 % 256 for number in range(768)])
    for image in (plain, indexed):
        for kind, options in (
            ("TIFF", {"compression": "tiff_lzw"}),
            ("TIFF", {"compression": "tiff_adobe_deflate"}),
            ("PNG", {}),
            ("BMP", {}),
            ("GIF", {}),
        ):
            assert np.array_equal(read(encoded(image, kind, **options)), label), (kind, options)
    text = " ".join(map(str, label.ravel())).encode()
    size = b"%d %d" % (WIDTH, HEIGHT)
    for largest in (20, 21, 255):
        assert np.array_equal(
            read(b"P5\n# made by hand\n%b\n%d\n" % (size, largest) + label.tobytes()), label
        )
        assert np.array_equal(read(b"P2\n%b\n%d\n" % (size, largest) + text), label)
    sixteen = (label.astype("u2") * 100).astype(">u2")
    assert np.array_equal(read(b"P5 %b 2100\n" % size + sixteen.tobytes()), sixteen)
    bits = stored(1)
    assert np.array_equal(read(b"P4 %b\n" % size + np.packbits(bits, axis=1).tobytes()), bits)
    assert np.array_equal(read(b"P1 %b\n" % size + "".join(map(str, bits.ravel())).encode()), bits)


def test_numpy_files() -> None:
    label = stored(8) % 21
    for array in (
        label,
        label.astype(">i4"),
        label.astype("i8")[..., None],
        np.asfortranarray(label),
        label > 9,
    ):
        for save in (np.save, np.savez, np.savez_compressed):
            buffer = io.BytesIO()
            save(buffer, array)
            assert np.array_equal(read(buffer.getvalue()), array.reshape(HEIGHT, WIDTH))
    buffer = io.BytesIO()
    np.save(buffer, label.astype("f4"))
    with pytest.raises(DataError, match=r"a\.file.*float32"):
        read(buffer.getvalue())


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("JPEG", "JPEG", {"quality": 100}),
        ("JPEG 2000", "JPEG2000", {}),
        ("WebP", "WEBP", {"quality": 80}),
        ("AVIF", "AVIF", {}),
        ("JPEG", "TIFF", {"compression": "jpeg"}),
    ],
)
def test_lossy_files_are_refused_by_name(name: str, kind: str, options: dict) -> None:
    if kind.upper() not in Image.SAVE and not Image.init() and kind.upper() not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    with pytest.raises(DataError, match=rf"a\.file.*{name}.*PNG"):
        read(encoded(Image.fromarray(stored(8)).convert("RGB" if kind == "AVIF" else "L"), kind, **options))


def test_colors_frames_and_floats_are_refused(encode_tiff: Callable[..., bytes]) -> None:
    label = stored(8)
    gray = Image.fromarray(label)
    for mode in ("RGB", "RGBA", "LA"):
        with pytest.raises(DataError, match=rf"a\.file.*{mode}"):
            read(encoded(gray.convert(mode), "PNG"))
    three = np.stack([label] * 3, 2)
    for data in (
        encoded(gray.convert("RGB"), "BMP"),
        encode_tiff(three, photometric=2),
        encode_tiff(three.astype("u2"), photometric=2),
        encode_tiff(three),
        b"P6 %d %d 255\n" % (WIDTH, HEIGHT) + three.tobytes(),
    ):
        with pytest.raises(DataError, match=r"a\.file.*(3|RGB)"):
            read(data)
    with pytest.raises(DataError, match="float32"):
        read(encode_tiff(label.astype("f4")))
    frames = [Image.fromarray(label), Image.fromarray(255 - label)]
    with pytest.raises(DataError, match="2 frames"):
        read(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))


def test_damage_is_named(pack_bits: Callable[..., bytes], encode_tiff: Callable[..., bytes]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), "u1")
    whole = [
        png(noise, 8, pack_bits),
        png(noise % 16, 4, pack_bits),
        encode_tiff(noise),
        encode_tiff(noise % 4, bits=2),
        b"P5 16 6 255\n" + noise.tobytes(),
        b"P4 16 6\n" + bytes(12),
        b"P2 16 6 255\n" + b"7 " * 96,
    ]
    for data in whole:
        read(data)
        for cut in (data[: len(data) // 2], data[:-24], b"", b"<html>no</html>"):
            with pytest.raises(DataError, match=r"a\.file"):
                read(cut)
    flipped = bytearray(whole[0])
    flipped[len(flipped) - 40] ^= 16
    with pytest.raises(DataError, match=r"a\.file"):
        read(bytes(flipped))


def test_what_opencv_reads_rightly_stays_as_it_was() -> None:
    for label in (stored(8), stored(16)):
        data = cv2.imencode(".png", label)[1]
        assert np.array_equal(decode_label(data.ravel(), "a"), cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
        assert decode_label(data.ravel(), "a").dtype == label.dtype
