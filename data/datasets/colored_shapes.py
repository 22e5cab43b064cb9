"""Colored shapes on colored ground: images with classes that are drawn, not downloaded."""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from ...common import UserError
from ..batch import DataError
from ..in_memory import PairedTensors
from ..io.decode import Array, Size, require_pixels
from ..labels import Classes, select_classes

SHAPES: Mapping[str, Callable[[Array, Array], Array]] = {
    "disc": lambda x, y: np.hypot(x, y) < 0.9,
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.7) < 0.22,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.78,
    "triangle": lambda x, y: np.maximum(abs(x) * 0.866 + y * 0.5, -y) < 0.5,
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.28) & (np.maximum(abs(x), abs(y)) < 0.95),
    "stripes": lambda x, y: (np.sin(7 * x) > 0) & (np.hypot(x, y) < 1),
}
"""A class's name and its area: coordinates (H, W) about the center, of radius 1, to booleans."""

SPLITS = {"train": (600, 0), "unlabeled": (1800, 1), "test": (600, 2)}
"""Images and seed of each split."""


class ColoredShapes(PairedTensors):
    """One of six shapes at a random place, size and turn; its color and the ground's are random.

    As no color belongs to a class, lightness and color each show the shape alone: what a network of one
    learns, one of the other can be taught. Ground and shape have a slow gradient and noise. The same split is
    the same images everywhere.

    Args:
        split: `train` (600), `unlabeled` (1800, without `label`) or `test` (600).
        size: (height, width); 32 × 32 where absent.
        classes: the first n shapes, or a list of names or numbers; None for all six.

    Raises:
        ValueError: an unknown split or class.
        DataError: classes to choose in the unlabeled split.
    """

    def __init__(self, split: str = "train", *, size: Size | None = None, classes: Classes = None) -> None:
        if split not in SPLITS:
            raise UserError(f"shapes have the splits {', '.join(SPLITS)}, not {split!r}")
        count, seed = SPLITS[split]
        require_pixels(count, size or (32, 32))
        rng = np.random.default_rng(seed)
        label = np.arange(count) % len(SHAPES)
        images = np.stack([_draw(list(SHAPES.values())[kind], size or (32, 32), rng) for kind in label])
        names = tuple(SHAPES)
        if classes is not None:
            if split == "unlabeled":
                raise DataError("the unlabeled shapes have no labels to choose classes by")
            rows, label, names = select_classes(classes, label, names, "the shapes")
            images = images[rows]
        modalities = {"rgb": torch.from_numpy(images)}
        if split != "unlabeled":
            modalities["label"] = torch.from_numpy(label)
        super().__init__(**modalities)
        self.class_names, self.num_classes = names, len(names)


def _draw(area: Callable[[Array, Array], Array], size: Size, rng: np.random.Generator) -> Array:
    """One image, (3, H, W) uint8."""
    rows, columns = np.mgrid[: size[0], : size[1]] / max(size) - 0.5
    scale, turn = rng.uniform(0.22, 0.42), rng.uniform(0, 2 * np.pi)
    x, y = columns - rng.uniform(-0.12, 0.12), rows - rng.uniform(-0.12, 0.12)
    turned = (x * np.cos(turn) + y * np.sin(turn)) / scale, (y * np.cos(turn) - x * np.sin(turn)) / scale
    inside = area(*turned)
    ground, shape = rng.uniform(0.1, 0.9, (2, 3))
    while np.abs(ground - shape).max() < 0.35 or abs(ground.mean() - shape.mean()) < 0.1:
        shape = rng.uniform(0.1, 0.9, 3)
    slope = rng.uniform(-0.25, 0.25, (2, 3, 1, 1))
    image = np.where(inside, shape[:, None, None], ground[:, None, None])
    image = image + slope[0] * rows + slope[1] * columns + rng.normal(0, 0.05, (3, *size))
    return np.asarray((255 * image.clip(0, 1)).round().astype(np.uint8))
