"""Each reader on files that were damaged at random, with a fixed seed: it reads them or refuses them by name.

Nothing else may come out, nor may the process end or take memory that the file does not fill.
"""

import io
import os
import random
import resource
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.io import savemat

from crdkit.common import Artifact, ManifestError
from crdkit.data import DataError, PackedImages, Statistics
from crdkit.data.io.archives import open_zip, read_member
from crdkit.data.io.files import load_array, read_file
from crdkit.data.io.stored import decode_label
from crdkit.data.io.video import read_frames
from crdkit.models import read_weights
from crdkit.models.description import read_description
from crdkit.recordings import PackedPairs
from crdkit.recordings.alignment import load_homography
from crdkit.recordings.find import _lines
from crdkit.recordings.nyu import read_split

ROUNDS = 300
"""Damaged files of each kind."""
MEMORY = 256 << 20
"""Bytes that may be in use at some moment beyond those before."""
CLAIMS = (0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)

COLOR = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3), "u1")
GRAY, METERS = COLOR[0, ..., 0], COLOR[0, ..., 0].astype("f4") / 10
STATE = {"conv.weight": torch.randn(8, 3, 3, 3), "conv.bias": torch.randn(8), "count": torch.tensor(3)}


def damage(data: bytes, generator: random.Random) -> bytes:
    """A bit flipped, bytes exchanged, inserted or lost, a length far too large; or several of these."""
    made = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 8))):
        place, kind = generator.randrange(len(made) or 1), generator.randrange(5)
        if kind == 0 and made:
            made[place] ^= 1 << generator.randrange(8)
        elif kind == 1:
            made[place : place + generator.randrange(32)] = generator.randbytes(generator.randrange(32))
        elif kind == 2 and generator.random() < 0.3:
            del made[place:]
        else:
            width = generator.choice((1, 2, 4, 8))
            claim = generator.choice(CLAIMS).to_bytes(8, generator.choice(("little", "big")))
            made[place : place + width] = claim[:width] if generator.random() < 0.5 else claim[-width:]
    return bytes(made)


def saved(save: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arguments, **options)
    return buffer.getvalue()


def image(ending: str, array: Any = COLOR[0]) -> bytes:
    return bytes(cv2.imencode(ending, array)[1])


def indexed(kind: str) -> bytes:
    return saved(Image.fromarray(GRAY // 64).convert("P").save, kind)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "text " * 50)
    return buffer.getvalue()


def encoded(file: h5py.File, name: str) -> None:
    rows = file.create_dataset(name, (4,), h5py.vlen_dtype(np.uint8))
    for row, picture in enumerate(COLOR):
        rows[row] = cv2.imencode(".png", picture)[1].ravel()


def write_pairs(path: Path, version: str) -> None:
    with h5py.File(path, "w", libver=version) as file:
        encoded(file, "rgb")
        depth = file.create_dataset("depth", data=COLOR[..., 0] + np.uint16(100), compression="gzip")
        depth.attrs["meters_per_unit"] = 0.001
        file["label"] = COLOR[..., 1] % 5
        file["label"].attrs["names"], file["label"].attrs["ignore"] = np.array([*"abcde"], "S"), 255
        file["train"], file["group"] = np.array([1, 0, 3]), [*"xyxz"]


def write_images(path: Path, version: str) -> None:
    with h5py.File(path, "w", libver=version) as file:
        file.create_group("train")
        encoded(file, "train/images")
        file["train/labels"], file.attrs["classes"] = np.arange(4) % 2, np.array(["a", "b"], "S")


def read_pairs(path: Path) -> None:
    pairs = PackedPairs(path, "train")
    for row in range(len(pairs)):
        pairs[row]


def read_zip(path: Path) -> None:
    with open_zip(path, "the source") as archive:
        read_member(archive, "a.txt", "the source")


def read_table(path: Path) -> None:
    _lines(path)


def read_whole(path: Path) -> None:
    Artifact.open(path.parent)


def write_movie(path: Path) -> None:
    movie = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (24, 16))
    for picture in COLOR:
        movie.write(picture)
    movie.release()


def read_label(path: Path) -> None:
    decode_label(read_file(path), str(path))


def weights(path: Path) -> None:
    read_description(path)
    read_weights(path)


SEEDS: dict[str, tuple[bytes | Callable[[Path], None], Callable[[Path], Any]]] = {
    "a.npy": (saved(np.save, METERS), load_array),
    "stored.npz": (saved(np.savez, METERS), load_array),
    "deflated.npz": (saved(np.savez_compressed, METERS), load_array),
    "color.png": (image(".png"), load_array),
    "deep.png": (image(".png", GRAY.astype("u2") * 100), load_array),
    "color.jpg": (image(".jpg"), load_array),
    "color.webp": (image(".webp"), load_array),
    "color.bmp": (image(".bmp"), load_array),
    "meters.tiff": (image(".tiff", METERS), load_array),
    "palette.gif": (indexed("GIF"), load_array),
    "meters.pfm": (image(".pfm", METERS), load_array),
    "text.pgm": (b"P2\n# three by two\n3 2\n255\n1 2 3\n4 5 6\n", load_array),
    "bits.pbm": (b"P4 10 2\n\xff\x00\xaa\x01", load_array),
    "label.png": (indexed("PNG"), read_label),
    "label.gif": (indexed("GIF"), read_label),
    "label.tif": (image(".tif", GRAY.astype("u2")), read_label),
    "pairs.h5": (lambda path: write_pairs(path, "earliest"), read_pairs),
    "pairs-latest.h5": (lambda path: write_pairs(path, "latest"), read_pairs),
    "images.h5": (lambda path: write_images(path, "earliest"), PackedImages),
    "images-latest.h5": (lambda path: write_images(path, "latest"), PackedImages),
    "splits.mat": (saved(savemat, {"trainNdxs": np.arange(1, 9)}), lambda path: read_split(path, "train", 9)),
    "homography.npy": (saved(np.save, np.eye(3)), load_homography),
    "homography.txt": (saved(np.savetxt, np.eye(3)), load_homography),
    "statistics.json": (b'{"mean": {"rgb": [0.5]}, "std": {"rgb": [0.2]}}', Statistics.load),
    "archive.zip": (zipped(), read_zip),
    "table.csv": ("rgb,depth\na.png,a.npy\nsé.png,b.npy\n".encode(), read_table),
    "table.jsonl": (b'{"rgb": "a.png", "depth": "a.npy"}\n{"rgb": "b.png", "depth": null}\n', read_table),
    "manifest.json": (lambda path: Artifact.seal(path.parent, {"of": "this"}), read_whole),
    "movie.avi": (write_movie, lambda path: [*read_frames(path)]),
    "weights.pth": (saved(lambda file: torch.save({"state_dict": STATE, "epoch": 3}, file)), weights),
    "old.pth": (
        saved(lambda file: torch.save({"model": STATE}, file, _use_new_zipfile_serialization=False)),
        weights,
    ),
    "weights.safetensors": (lambda path: save_file(STATE, path, metadata={"format": "pt"}), weights),
}


def outcomes(name: str, folder: Path) -> Iterator[str]:
    """What the reader makes of each damaged file: `read`, `refused` or what is wrong with that."""
    content, read = SEEDS[name]
    path = folder / name
    if callable(content):
        content(path)
        content = path.read_bytes()
    generator = random.Random(name)
    for turn in range(ROUNDS):
        path = folder / str(turn) / name
        path.parent.mkdir()
        path.write_bytes(damage(content, generator))
        try:
            read(path)
            yield "read"
        except (DataError, ManifestError, ValueError) as error:
            told = str(error)
            named = path.name in told and "\n" not in told and "weights_only" not in told
            ours = isinstance(error, DataError | ManifestError) or read is weights
            yield "refused" if named and ours else f"turn {turn}: {type(error).__name__}: {told}"
        except Exception as error:
            yield f"turn {turn}: {error!r}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SEEDS)
def test_damage_is_read_or_refused_by_name(name: str, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if (child := os.fork()) == 0:  # what ends the process, or never ends, ends a child
        resource.setrlimit(resource.RLIMIT_CPU, (40, 40))
        warnings.simplefilter("ignore")
        found = [*outcomes(name, tmp_path)]
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        wrong = [outcome for outcome in found if outcome not in ("read", "refused")]
        os.write(theirs, f"{len(found)} {found.count('refused')} {grown} {' | '.join(wrong[:5])}".encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        report = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, "the process ended, or did not end"
    total, refused, grown, wrong = report.split(" ", 3)
    assert not wrong
    assert int(total) == ROUNDS and int(refused) > ROUNDS / 10
    assert int(grown) < MEMORY


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("statistics.json", Statistics.load),
        ("homography.json", load_homography),
        ("table.jsonl", read_table),
        ("manifest.json", read_whole),
    ],
)
def test_brackets_without_end_are_named(tmp_path: Path, name: str, read: Callable[[Path], Any]) -> None:
    (tmp_path / name).write_text("[" * 100_000)
    with pytest.raises((DataError, ManifestError), match=name):
        read(tmp_path / name)
