"""What the header of an image says, before anything is decoded."""

from collections.abc import Iterator

from ..batch import DataError
from .arrays import Array

PNG = b"\x89PNG"
MOST_PIXELS = 10_000
"""A byte of a file: deflate at its best gives 8256 of one bit, the others fewer."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG after which its size stands."""
SCAN = 0xDA


def check_claim(buffer: Array, where: str) -> None:
    """Raise `DataError` if a PNG, GIF or JPEG claims more than bytes (N,) uint8 can hold: it would be
    allocated, and its pixels be gray. Of other formats the decoders see it."""
    if (chunk := _longest_chunk(buffer)) > buffer.size:
        raise DataError(f"{where}: {buffer.size} bytes that claim a part of {chunk}; the file is damaged")
    height, width = _claimed(buffer)
    if height * width > MOST_PIXELS * buffer.size:
        raise DataError(
            f"{where}: {buffer.size} bytes that claim {height}×{width} pixels; the file is damaged"
        )


def is_cut_jpeg(buffer: Array) -> bool:
    """Whether a JPEG has no end marker after its header (an embedded thumbnail has one of its own)."""
    data = buffer.tobytes()
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    places = [place for _, place in _segments(data)]
    return data.find(b"\xff\xd9", max(places, default=2)) < 0


def _claimed(buffer: Array) -> tuple[int, int]:
    """Height and width; zeros for other formats."""
    data = buffer[:24].tobytes()
    if data.startswith(PNG):
        return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])
    if data.startswith(b"GIF8"):
        return int.from_bytes(data[8:10], "little"), int.from_bytes(data[6:8], "little")
    if data.startswith(b"\xff\xd8\xff"):
        data = buffer.tobytes()
        for marker, place in _segments(data):
            if marker in FRAMES:
                return int.from_bytes(data[place + 3 : place + 5]), int.from_bytes(
                    data[place + 5 : place + 7]
                )
    return 0, 0


def _longest_chunk(buffer: Array) -> int:
    """Of a PNG, in bytes; 0 for other formats."""
    data, place, longest = buffer.data, 8, 0
    while bytes(data[:4]) == PNG and place + 8 <= len(data) and bytes(data[place - 8 : place - 4]) != b"IEND":
        length = int.from_bytes(data[place : place + 4])
        place, longest = place + 12 + length, max(longest, length)
    return longest


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Each marker of a JPEG before its pixels, with the place after it; last the one where these begin."""
    place = 2
    while place + 1 < len(data) and data[place] == 0xFF:
        marker, place = data[place + 1], place + 1
        if marker == 0xFF:
            continue  # before a marker there may be any number of fill bytes
        yield marker, place + 1
        if marker == SCAN:
            return
        place += 1 + int.from_bytes(data[place + 1 : place + 3])  # the segment's length stands after it
