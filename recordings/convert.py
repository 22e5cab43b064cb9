"""Write a data set as one compact HDF5 file for `PackedPairs`.

    crdkit data nyu ROOT OUT.h5 [--size HEIGHT WIDTH] [--inpainted]

ROOT has NYU-Depth-v2's official files. Color and labels keep every bit at the stored size; depth is
rounded to a quarter of a millimeter.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import atomically
from ..data import DataError

# What reads and decodes is imported by the functions: the command prints its help without it.
if TYPE_CHECKING:
    import h5py

    from ..data.io.arrays import Array
    from ..data.io.decode import Size
    from .nyu import NYUDepth

METERS_PER_UNIT = 0.00025
"""Depth is stored in 16 bits of this: up to 16.38 m, with an error of at most half of it."""


def convert_nyu(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: Size | None = None,
    inpainted: bool = False,
) -> None:
    """Read NYU-Depth-v2's official files below `root` and write `out`, which must not exist yet.

    Arrays are stored uncompressed, one chunk a sample with a checksum: reading is a copy, and a damaged
    sample is found. The file appears only when it is whole. Its attributes tell the source's SHA-256.

    Raises:
        DataError: `out` exists, files are missing or damaged, a depth beyond 16.38 m.
    """
    import h5py

    from ..data.io.decode import check_size
    from .nyu import NYUDepth

    root, out, size = Path(root), Path(out), check_size(size)
    if out.exists():
        raise DataError(f"{out} exists; choose another name or remove it")
    if not out.parent.is_dir():
        raise DataError(f"{out.parent} is no folder")
    sources = {split: NYUDepth(root, split, classes=40, inpainted=inpainted) for split in ("train", "test")}
    count = max(int(source.rows.max()) for source in sources.values()) + 1
    with atomically(out) as made, h5py.File(made, "w") as file:
        for split, source in sources.items():
            for index, row in enumerate(source.rows):
                _write(file, int(row), count, _resized(source, index, size), source._where(index, "depth"))
                _tell(f"{split} {index + 1}/{len(source)}", last=index + 1 == len(source))
        _describe(file, root, sources["train"])


def _resized(source: NYUDepth, index: int, size: Size | None) -> dict[str, Array]:
    """One sample as the reader would serve it, still as arrays."""
    from ..data.io.decode import resize_color, resize_depth, resize_label

    arrays = source._read(index)
    source._check(index, arrays)
    if size is None:
        return arrays
    return {
        "rgb": resize_color(arrays["rgb"], size),
        "depth": resize_depth(arrays["depth"], size),
        "label": resize_label(arrays["label"], size),
    }


def _write(file: h5py.File, row: int, count: int, arrays: dict[str, Array], where: str) -> None:
    """One sample, into data sets that the first one makes."""
    import numpy as np

    units = np.rint(arrays["depth"] / METERS_PER_UNIT)
    if units.max() > np.iinfo(np.uint16).max:
        raise DataError(f"{where}: a depth of {arrays['depth'].max():g} m, more than 16 bits hold")
    stored = {"rgb": arrays["rgb"], "depth": units.astype(np.uint16), "label40": arrays["label"]}
    for name, array in stored.items():
        if name not in file:
            file.create_dataset(
                name, (count, *array.shape), array.dtype, chunks=(1, *array.shape), fletcher32=True
            )
        file[name][row] = array


def _describe(file: h5py.File, root: Path, source: NYUDepth) -> None:
    """Units, names, splits, the map to 13 classes, and where the data is from."""
    import numpy as np

    from ..data import IGNORE
    from .nyu import LABELED, MAP_13, SPLITS, map_40_to_13, read_split

    file["depth"].attrs["meters_per_unit"] = METERS_PER_UNIT
    file["label40"].attrs["ignore"] = IGNORE
    file["label40"].attrs["names"] = list(source.class_names)
    for split in ("train", "test"):
        file[split] = read_split(root / SPLITS, split, len(file["rgb"])).astype(np.int32)
    if (root / MAP_13).is_file():
        table, names = map_40_to_13(root)
        file["map_40_to_13"] = table.astype(np.int32)
        file["map_40_to_13"].attrs["names"] = list(names)
    with open(root / LABELED, "rb") as labeled:
        file.attrs["source"] = LABELED
        file.attrs["source_sha256"] = hashlib.file_digest(labeled, "sha256").hexdigest()


def _tell(text: str, *, last: bool) -> None:
    """Progress, on one line of a terminal; elsewhere only its end."""
    if sys.stderr.isatty():
        print(f"\r{text}", end="\n" if last else "", file=sys.stderr, flush=True)
    elif last:
        print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 1 and a message for data that cannot be used; a usage error exits with 2."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="crdkit data", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    nyu = commands.add_parser("nyu", help="NYU-Depth-v2's official .mat files")
    nyu.add_argument("root", type=Path, help="folder with the official .mat files")
    nyu.add_argument("out", type=Path, help="the file to write")
    nyu.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="default 480 640")
    nyu.add_argument("--inpainted", action="store_true", help="the filled depth in place of the sensor's")
    given = parser.parse_args(arguments)
    try:
        convert_nyu(given.root, given.out, size=given.size and tuple(given.size), inpainted=given.inpainted)
    except (ValueError, OSError) as error:
        print(f"crdkit data: {error}", file=sys.stderr)
        return 1
    print(f"wrote {given.out} ({given.out.stat().st_size / 1e6:.0f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
