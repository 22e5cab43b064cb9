"""What a person hands to a network: files, folders, arrays, videos, a camera."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .batch import DataError
from .io.arrays import Array
from .io.files import ARRAY_SUFFIXES, SUFFIXES, load_array
from .io.listing import list_files
from .io.video import VIDEO_SUFFIXES, frame_rate, read_frames

CAMERA = "camera:"


class Input(NamedTuple):
    """One sample."""

    name: str
    """For files of results: a path below the given folder, or a file's name, without its ending; of a video
    or an array of many with the number of the frame, `drive/000012`."""
    array: Array
    """(H, W[, C]) as it is stored, color in RGB order."""
    where: str
    """File and frame, for messages."""
    rate: float | None = None
    """Frames a second, of a frame of a video."""


def read_inputs(sources: Sequence[str], *, keep_alpha: bool = False, gray: bool = False) -> Iterator[Input]:
    """The samples of all sources, read one by one.

    Args:
        sources: images and arrays by their paths, of which a `.npy` may hold many, (N, H, W, C), or (N, H, W)
            if its last axis is longer than 4; folders of them; videos; `camera:0`.
        keep_alpha: keep the fourth channel of images.
        gray: give one value a pixel of frames that have no color: they are of depth, or of one channel.

    Raises:
        DataError: something is missing, damaged or of a kind that is not read.
    """
    taken: set[str] = set()
    for source in sources:
        for found in _read(source, keep_alpha, gray):
            name, number = found.name, 1
            while name in taken:
                number += 1
                name = f"{found.name}~{number}"
            taken.add(name)
            yield found._replace(name=name)


def _read(source: str, keep_alpha: bool, gray: bool) -> Iterator[Input]:
    if source.startswith(CAMERA):
        number = source.removeprefix(CAMERA)
        if not number.isdecimal():
            raise DataError(f"{source}: a camera is camera: and a number, such as camera:0")
        yield from _frames(int(number), f"camera-{number}", source, 25.0, gray)
        return
    path = Path(source)
    if path.is_dir():
        for name, file in list_files(path, SUFFIXES).items():
            yield from _file(file, name, keep_alpha)
    elif not path.exists():
        raise DataError(f"{path}: no such file or folder")
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        yield from _frames(path, path.stem, source, frame_rate(path), gray)
    elif path.suffix.lower() in SUFFIXES:
        yield from _file(path, path.stem, keep_alpha)
    else:
        raise DataError(
            f"{path}: files ending in {path.suffix or 'nothing'} are not read; those are "
            f"{', '.join(sorted(SUFFIXES | VIDEO_SUFFIXES))}"
        )


def _file(path: Path, name: str, keep_alpha: bool) -> Iterator[Input]:
    if path.suffix.lower() in ARRAY_SUFFIXES - {".npz"}:
        try:
            many = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # a header is Python source: what fails in it may raise anything
            raise DataError(f"{path} cannot be read as a NumPy array ({error})") from error
        if many.ndim == 4 or (many.ndim == 3 and many.shape[2] > 4):
            for number, array in enumerate(many):
                yield Input(f"{name}/{number:06d}", np.array(array), f"{path}, sample {number}")
            return
    yield Input(name, load_array(path, keep_alpha=keep_alpha), str(path))


def _frames(source: Path | int, name: str, where: str, rate: float, gray: bool) -> Iterator[Input]:
    for number, frame in enumerate(read_frames(source, gray=gray)):
        yield Input(f"{name}/{number:06d}", frame, f"{where}, frame {number}", rate)
