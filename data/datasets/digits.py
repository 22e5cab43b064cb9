"""A small real data set that comes with scikit-learn: nothing to download."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ...common import UserError
from ..in_memory import PairedTensors
from ..io.decode import Array, Size, check_size, stack_color
from ..labels import Classes, check_labels, select_classes

TEST_SHARE = 0.2


class Digits(PairedTensors):
    """Handwritten digits in memory: `rgb` (N, 3, H, W) uint8, `label` (N,); `train` has 1,438, `test` 359.

    The 1,797 gray 8 × 8 images of the UCI collection that scikit-learn ships (Alpaydin & Kaynak, 1998), 17
    levels scaled to 0 … 255, interpolated bilinearly to `size`, the same in all three channels. The split is
    ours, as scikit-learn has none: a fifth of each class, drawn with `seed`, is the test set.

    Args:
        split: `train` or `test`.
        size: (height, width) to resize to; None for 32 × 32.
        classes: the first n classes, or a list of names or numbers; None for all ten.
        seed: of the split; another one gives another split.

    Raises:
        ValueError: an unknown split or class.
    """

    def __init__(
        self, split: str = "train", *, size: Size | None = None, classes: Classes = None, seed: int = 0
    ) -> None:
        if split not in ("train", "test"):
            raise UserError(f"the digits have the splits train and test, got {split!r}")
        stored = _read()
        labels = check_labels(stored[:, -1].astype(np.int64), len(stored), 10, "digits")
        rows, digits = _split_rows(labels, seed)[split], [str(digit) for digit in range(10)]
        kept, kept_labels, names = select_classes(classes, labels[rows], digits, "the digits")
        gray = np.rint(stored[rows[kept], :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        color = ((f"digit {row}", image[..., None].repeat(3, axis=2)) for row, image in enumerate(gray))
        images = stack_color(color, len(gray), check_size(size) or (32, 32))
        super().__init__(rgb=torch.from_numpy(images), label=torch.from_numpy(kept_labels))
        self.class_names, self.num_classes = names, len(names)


@cache
def _read() -> Array:
    """(1797, 65): 64 pixels and the label of each image, from the file that `sklearn.datasets.load_digits`
    reads; by itself, if the file is elsewhere, as importing scikit-learn takes a second."""
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        if (path := Path(folder, "datasets", "data", "digits.csv.gz")).is_file():
            return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits

    stored = load_digits()
    return np.column_stack([stored.data, stored.target])


def _split_rows(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Rows of each split, rising. The generator is one whose numbers numpy has promised never to change."""
    generator = np.random.RandomState(seed)
    is_test = np.zeros(len(labels), bool)
    for label in range(10):
        rows = generator.permutation(np.flatnonzero(labels == label))
        is_test[rows[: round(TEST_SHARE * len(rows))]] = True
    return {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}
