"""Labels as the numbers that their files store."""

import io

import numpy as np
from PIL import Image

from .decode import Array, decode


def decode_label(buffer: Array, where: str) -> Array:
    """Encoded bytes to stored numbers: indices of a palette, not its colors."""
    try:
        image = Image.open(io.BytesIO(buffer.tobytes()))
        if image.mode == "P":
            return np.array(image)
    except OSError:
        pass
    return decode(buffer, where)
