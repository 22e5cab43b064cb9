"""OpenCV's messages about damaged files: an error of this room says the same, and where."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2


@contextmanager
def quiet() -> Iterator[None]:
    """Turn OpenCV's log off inside the block, unless the environment sets OPENCV_LOG_LEVEL."""
    log = cv2.utils.logging
    before = log.getLogLevel()
    if "OPENCV_LOG_LEVEL" not in os.environ:
        log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)
