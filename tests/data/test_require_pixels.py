"""Images that do not fit in memory are refused before one of them is made."""

import numpy as np
import pytest

from crdkit.data import load_images
from crdkit.data.io.decode import stack_color
from crdkit.recordings import SyntheticRooms


@pytest.mark.parametrize("source", ["digits", "shapes"])
def test_a_size_that_cannot_be(source: str) -> None:
    with pytest.raises(ValueError, match=r"images of 1000000×1000000 would take .*GiB.*free: lower the size"):
        load_images(source, size=10**6)


def test_samples_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"1000000000000 images of 96×128 would take .*or take fewer"):
        SyntheticRooms(10**12, seed=0)


def test_more_images_than_fit() -> None:
    images = ((f"image {row}", np.zeros((10, 10, 3), np.uint8)) for row in range(3))
    with pytest.raises(ValueError, match=r"1000000000000 images of 10×10"):
        stack_color(images, 10**12, None)
