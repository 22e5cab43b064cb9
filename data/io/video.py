"""Frames of a video file or a camera, and pictures as a video, by OpenCV."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..batch import DataError
from .arrays import Array
from .quiet import quiet

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
"""The endings of files that `read_frames` reads, in lower case."""


GRAY = 8
"""Levels by which the channels of a gray video may differ: what a codec adds."""


def read_frames(source: Path | int, *, gray: bool = False) -> Iterator[Array]:
    """The frames of a video file, or of a camera by its number, one after the other.

    Args:
        gray: give the one value of a pixel of frames that have no color, as those of a video of depth.

    Yields:
        (H, W, 3) uint8 in RGB order, or (H, W).

    Raises:
        DataError: it cannot be opened, or has no frame.
    """
    with quiet():
        capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    name = f"camera {source}" if isinstance(source, int) else str(source)
    try:
        if not capture.isOpened():
            raise DataError(f"{name} cannot be opened as a video: it is damaged, or OpenCV does not read it")
        count = 0
        while True:
            with quiet():
                found, frame = capture.read()
            if not found:
                break
            count += 1
            yield _frame(frame, gray)
        if not count:
            raise DataError(f"{name} has no frame that can be read")
    finally:
        capture.release()


def frame_rate(path: Path) -> float:
    """Frames a second; 25 where the file does not say it."""
    capture = cv2.VideoCapture(str(path))
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()
    return rate if 0 < rate < 1000 else 25.0


class VideoFile:
    """A video that pictures are written to, all of the size of the first; H.264 or MPEG-4, as OpenCV has.

    Args:
        path: ends in `.mp4`.
        rate: frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self._writer: Any = None

    def write(self, picture: Array) -> None:
        """Add a picture, (H, W, 3) uint8 in RGB order. `DataError` if this OpenCV writes no video."""
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            height, width = picture.shape[:2]
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self.path), code, self.rate, (width, height))
            if not self._writer.isOpened():
                raise DataError(f"{self.path}: this OpenCV cannot write MPEG-4 videos")
        self._writer.write(np.ascontiguousarray(picture[..., ::-1]))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None


def _frame(frame: Array, gray: bool) -> Array:
    if frame.ndim == 2:
        return frame
    if gray and np.ptp(frame, axis=2).max() <= GRAY:
        found: Array = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        return found
    return np.ascontiguousarray(frame[..., ::-1])
