"""A packed file to choose settings by, whose test split is drawn from the training split of another.

The first file's own test images are not in it, so that a choice made on it has not seen them.

    python benchmarks/holdout.py imagenette96.h5 imagenette96-holdout.h5
    python benchmarks/holdout.py nyuv2.h5 nyuv2-holdout.h5 --fraction 0.25
"""

import argparse
from pathlib import Path

from packed import copy_rows

PARTS = ("train", "test")


def write_holdout(source: Path, output: Path, fraction: float, seed: int) -> dict[str, int]:
    """Copy the encoded images, a fraction of the training split as `test`; returns the sizes of both.

    Splits are groups of datasets with a row an image (`train/images`) or lists of rows (`train`). Raises
    `SystemExit` where nothing would be left of one.
    """
    import h5py
    import numpy as np

    with h5py.File(source) as given:
        train = given["train"]
        listed = isinstance(train, h5py.Dataset)
        count = len(train) if listed else len(next(iter(train.values())))
        held = round(count * fraction)
        if not 0 < held < count:
            raise SystemExit(f"{fraction:g} of the {count} training images of {source} leaves a split empty")
        order = np.random.default_rng(seed).permutation(count)
        rows = {"test": np.sort(order[:held]), "train": np.sort(order[held:])}
        with h5py.File(output, "x") as made:
            made.attrs.update(given.attrs)
            for name in given.keys() - PARTS:
                given.copy(name, made)
            for part in PARTS:
                if listed:
                    made[part] = train[:][rows[part]]
                    continue
                for name, values in train.items():
                    copy_rows(values, rows[part], made, f"{part}/{name}")
    return {part: len(rows[part]) for part in PARTS}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="packed file")
    parser.add_argument("output", type=Path, help="the file to write; must not exist")
    parser.add_argument("--fraction", type=float, default=0.2, help="of the training images, to test on")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    given = parser.parse_args()
    sizes = write_holdout(given.source, given.output, given.fraction, given.seed)
    print(f"wrote {given.output}: {sizes['train']} images to train on, {sizes['test']} to test on")


if __name__ == "__main__":
    main()
