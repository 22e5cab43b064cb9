"""Files as people have them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

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
