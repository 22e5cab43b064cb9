"""The data of one packed file, with unlabeled images of other classes in the place of its own.

STL-10's unlabeled images are of more classes than its ten; those of a set that was split by chance are of
the same ones. This writes a packed file with the labeled splits of the first and, drawn from the training
split of another, as many unlabeled images as the first has, or as many as asked for.

    python benchmarks/other_classes.py imagenette96.h5 tiny32_base.h5 other-classes.h5
    python benchmarks/other_classes.py imagenette96.h5 tiny32_base.h5 many-others.h5 --count 50000
"""

import argparse
from pathlib import Path

from packed import copy_rows

SPLITS = ("train", "test")


def write_mixture(labeled: Path, others: Path, output: Path, count: int | None, seed: int) -> None:
    """Copy the encoded images; raises `SystemExit` where a class is in both files, or too few are there."""
    import h5py
    import numpy as np

    with h5py.File(labeled) as ours, h5py.File(others) as theirs:
        both = set(ours.attrs["wnids"]) & set(theirs.attrs["wnids"])
        if both:
            raise SystemExit(f"{labeled} and {others} share the classes {', '.join(sorted(both))}")
        images = theirs["train/images"]
        count = len(ours["unlabeled/images"]) if count is None else count
        if not 0 < count <= len(images):
            raise SystemExit(f"{others} has {len(images)} training images, {count} are asked for")
        rows = np.sort(np.random.default_rng(seed).permutation(len(images))[:count])
        with h5py.File(output, "x") as mixture:
            mixture.attrs.update(ours.attrs)
            for split in SPLITS:
                ours.copy(split, mixture)
            copy_rows(images, rows, mixture, "unlabeled/images")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labeled", type=Path, help="packed file of the train and test splits")
    parser.add_argument("others", type=Path, help="packed file whose training images go without labels")
    parser.add_argument("output", type=Path, help="the file to write; must not exist")
    parser.add_argument("--count", type=int, help="unlabeled images; as many as the first file has")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    given = parser.parse_args()
    write_mixture(given.labeled, given.others, given.output, given.count, given.seed)
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
