"""CIFAR from files in the published layouts, whole and spoilt, and pickles that mean harm."""

import hashlib
import io
import os
import pickle
import struct
import subprocess
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from crdkit.data import CIFAR10, CIFAR100, DataError
from crdkit.data.pickles import load_plain

COUNT = 4
FINE = [f"fine {i}" for i in range(100)]
TEN = [f"ten {i}" for i in range(10)]


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (COUNT, 3072), "u1")


def labels(seed: int, classes: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, classes, COUNT).tolist()


def python_2(content: dict[str, np.ndarray | list[int] | list[str]]) -> bytes:
    """A pickle as the published ones are: protocol 2 of Python 2, with str of bytes and numpy of 2009."""

    def string(value: bytes) -> bytes:
        return (
            b"U" + bytes([len(value)]) + value
            if len(value) < 256
            else b"T" + struct.pack("<i", len(value)) + value
        )

    def integer(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    def array(value: np.ndarray) -> bytes:
        kind = (
            b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        shape = b"(" + b"".join(integer(n) for n in value.shape) + b"t"
        return empty + b"(K\x01" + shape + kind + b"\x89" + string(value.tobytes()) + b"tb"

    def written(value: np.ndarray | list[int] | list[str]) -> bytes:
        if isinstance(value, np.ndarray):
            return array(value)
        items = (integer(v) if isinstance(v, int) else string(v.encode()) for v in value)
        return b"](" + b"".join(items) + b"e"

    pairs = b"".join(string(key.encode()) + written(value) for key, value in content.items())
    return b"\x80\x02}(" + pairs + b"u."


def test_the_pickles_of_these_tests_are_pickles() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy wants the flags of Python 2 as booleans
        read = pickle.loads(python_2({"data": pixels(1), "labels": [3, 300], "names": TEN}), encoding="bytes")
    assert np.array_equal(read[b"data"], pixels(1)) and read[b"data"].dtype == np.uint8
    assert read[b"labels"] == [3, 300] and read[b"names"][9] == b"ten 9"


def files_of(title: str, form: str) -> tuple[str, dict[str, bytes]]:
    """The published folder and its files; batch i of the pixels has seed i, the test images seed 9."""
    if title == "cifar-10":
        batches = {f"data_batch_{n}": n for n in range(1, 6)} | {"test_batch": 9}
        if form == "python":
            files = {
                name: python_2({"batch_label": [name], "labels": labels(n, 10), "data": pixels(n)})
                for name, n in batches.items()
            }
            return "cifar-10-batches-py", files | {"batches.meta": python_2({"label_names": TEN})}
        records = {
            f"{name}.bin": np.c_[np.array(labels(n, 10), "u1"), pixels(n)].tobytes()
            for name, n in batches.items()
        }
        return "cifar-10-batches-bin", records | {"batches.meta.txt": "\n".join([*TEN, "", ""]).encode()}
    batches = {"train": 1, "test": 9}
    if form == "python":
        files = {
            name: python_2({"data": pixels(n), "coarse_labels": [0] * COUNT, "fine_labels": labels(n, 100)})
            for name, n in batches.items()
        }
        return "cifar-100-python", files | {"meta": python_2({"fine_label_names": FINE})}
    records = {
        f"{name}.bin": np.c_[np.full(COUNT, 19, "u1"), np.array(labels(n, 100), "u1"), pixels(n)].tobytes()
        for name, n in batches.items()
    }
    return "cifar-100-binary", records | {"fine_label_names.txt": "\n".join(FINE).encode() + b"\n"}


def write(root: Path, title: str, form: str, *, packed: bool) -> Path:
    folder, files = files_of(title, form)
    if packed:
        return write_tar(
            root / f"{title}-{form}.tar.gz", {f"{folder}/{n}": data for n, data in files.items()}
        )
    (root / folder).mkdir(parents=True)
    for name, data in files.items():
        (root / folder / name).write_bytes(data)
    return root / folder


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize(
    ("title", "kind", "classes"), [("cifar-10", CIFAR10, 10), ("cifar-100", CIFAR100, 100)]
)
def test_every_published_form_gives_the_same(
    tmp_path: Path, title: str, kind: type[CIFAR10], classes: int, form: str, packed: bool
) -> None:
    place = write(tmp_path, title, form, packed=packed)
    seeds = range(1, 6) if classes == 10 else [1]
    expected = np.concatenate([pixels(seed) for seed in seeds]).reshape(-1, 3, 32, 32)
    for root in (tmp_path, place):
        train = kind(root, verify=False)
        assert (len(train), train.num_classes) == (len(expected), classes)
        assert train.class_names == tuple(TEN if classes == 10 else FINE)
        assert train.tensors["rgb"].dtype == torch.uint8
        assert np.array_equal(train.tensors["rgb"].numpy(), expected)
        assert train.labels.tolist() == [label for seed in seeds for label in labels(seed, classes)]
    batch = kind(tmp_path, "test", verify=False).__getitems__([2, 0])
    assert batch["index"].tolist() == [2, 0]
    assert batch["label"].tolist() == [labels(9, classes)[row] for row in (2, 0)]
    assert batch["label"].dtype == torch.int64
    shown = torch.from_numpy(pixels(9)[[2, 0]].reshape(2, 3, 32, 32) / 255).float()
    torch.testing.assert_close(batch["rgb"], shown)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    kind(tmp_path, verify=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before, "nothing is extracted"


def test_pickles_that_python_3_wrote_read_alike(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    for protocol in (0, 1, 2, 3, 4):
        folder.mkdir(exist_ok=True)
        for name, content in {
            "train": {"data": pixels(1), "fine_labels": labels(1, 100)},
            "test": {"data": np.asfortranarray(pixels(1)), "fine_labels": labels(1, 100)},
            "meta": {"fine_label_names": FINE},
        }.items():
            (folder / name).write_bytes(pickle.dumps(content, protocol))
        for split in ("train", "test"):
            read = CIFAR100(tmp_path, split)
            assert np.array_equal(read.tensors["rgb"].numpy().reshape(COUNT, -1), pixels(1))
            assert read.class_names == tuple(FINE)


def test_plain_arrays_keep_type_and_byte_order() -> None:
    for kind in ("?", ">i4", "<f8", "u2"):
        stored = np.arange(6).astype(kind).reshape(2, 3)
        read = load_plain(pickle.dumps({"data": stored}, 2), "file")["data"]
        assert np.array_equal(read, stored) and read.dtype == stored.dtype
    for kind in (object, "U3", "M8[s]", [("a", "u1")]):
        with pytest.raises(DataError, match="file: "):
            load_plain(pickle.dumps({"data": np.zeros(2, kind)}, 2), "file")


def test_the_binary_form_is_preferred_and_classes_are_renumbered(tmp_path: Path) -> None:
    write(tmp_path, "cifar-10", "python", packed=False)
    write(tmp_path, "cifar-10", "binary", packed=False)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not looked at")
    whole = CIFAR10(tmp_path)
    part = CIFAR10(tmp_path, classes=["ten 7", 2], size=(16, 16))
    rows = [row for row, label in enumerate(whole.labels.tolist()) if label in (7, 2)]
    assert part.class_names == ("ten 7", "ten 2") and part.num_classes == 2
    assert part.labels.tolist() == [[7, 2].index(int(whole.labels[row])) for row in rows]
    average = whole.tensors["rgb"][rows].float().unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5))
    assert (part.tensors["rgb"] - average).abs().max() <= 0.5
    assert part.__getitems__(range(len(part)))["index"].tolist() == list(range(len(rows)))


def test_checksums_are_compared_with_the_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "cifar-100", "binary", packed=True)
    actual = hashlib.md5(path.read_bytes()).hexdigest()
    size = path.stat().st_size
    message = (
        f"MD5 is {actual}, expected 03b5dce01913d631647c71ecec9e9cb8; these {size} bytes .*kriz/cifar.html"
    )
    with pytest.raises(DataError, match=message):
        CIFAR100(tmp_path)
    monkeypatch.setattr(CIFAR100, "binary", CIFAR100.binary._replace(md5=actual))
    assert len(CIFAR100(tmp_path)) == COUNT


def test_archives_that_are_no_whole_archive(tmp_path: Path) -> None:
    path = write(tmp_path, "cifar-100", "binary", packed=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=r"no readable archive of \d+ bytes .*cut short, get it again from https"
    ):
        CIFAR100(tmp_path, verify=False)
    path.write_bytes(b"\n<!DOCTYPE html><html><body>404 Not Found</body></html>")
    with pytest.raises(DataError, match=r"binary\.tar\.gz is a web page, not an archive; get it again from"):
        CIFAR100(tmp_path)
    path.write_bytes(b"\x00" * 4096)
    with pytest.raises(DataError, match="no readable archive of 4096 bytes"):
        CIFAR100(tmp_path, verify=False)


def test_members_cannot_reach_outside(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (tmp_path / "secret.bin").write_bytes(files_of("cifar-100", "binary")[1]["train.bin"])
    folder, files = files_of("cifar-100", "binary")
    names = {f"{folder}/{name}": data for name, data in files.items() if name != "train.bin"}
    hostile = {"../evil": b"evil", str(tmp_path / "absolute"): b"evil", f"{folder}/../../evil": b"evil"}
    path = write_tar(root / f"{folder}.tar.gz", hostile | names | {f"{folder}/train.bin": files["train.bin"]})
    assert len(CIFAR100(root, verify=False)) == COUNT
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["cifar-100-binary.tar.gz", "data", "secret.bin"]

    with tarfile.open(path, "w:gz") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo(f"{folder}/train.bin")
            link.type, link.linkname = kind, "../../secret.bin"
            archive.addfile(link)
        for name, data in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(DataError, match=r"has no cifar-100-binary/train\.bin"):
        CIFAR100(root, verify=False)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    message = (
        r"no CIFAR-10: expected cifar-10-binary\.tar\.gz or cifar-10-python\.tar\.gz, or a folder "
        r"cifar-10-batches-bin or cifar-10-batches-py .*https://www\.cs\.toronto\.edu/~kriz/cifar\.html"
    )
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=message):
            CIFAR10(root)
    folder = write(tmp_path, "cifar-10", "binary", packed=False)
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_3\.bin; extract the archive again"):
        CIFAR10(tmp_path)
    assert len(CIFAR10(tmp_path, "test")) == COUNT
    with pytest.raises(ValueError, match="splits train and test, got 'val'"):
        CIFAR10(tmp_path, "val")


def test_files_that_are_cut_or_out_of_range(tmp_path: Path) -> None:
    folder = write(tmp_path, "cifar-100", "binary", packed=False)
    whole = (folder / "train.bin").read_bytes()
    (folder / "train.bin").write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"train\.bin: 12295 bytes, not a whole number of records of 3074"):
        CIFAR100(tmp_path)
    (folder / "train.bin").write_bytes(whole[:3075] + b"\x64" + whole[3076:])
    with pytest.raises(DataError, match=r"train\.bin: label 100 of image 1, expected 0 to 99"):
        CIFAR100(tmp_path)
    root = tmp_path / "python"
    folder = write(root, "cifar-100", "python", packed=False)
    whole = (folder / "train").read_bytes()
    for content, message in (
        (whole[: len(whole) // 2], "no readable pickle of"),
        (b"", "no readable pickle of 0 bytes"),
        (pickle.dumps([1, 2]), "holds a list, expected a dict"),
        (pickle.dumps({"data": 3}), r"no array 'data' beside a list 'fine_labels'; found data"),
        (
            python_2({"data": pixels(1)[:, :5], "fine_labels": labels(1, 100)}),
            r"data is uint8 \(4, 5\), expected",
        ),
        (python_2({"data": pixels(1), "fine_labels": labels(1, 100)[1:]}), "4 images, but labels of shape"),
        (python_2({"data": pixels(1), "fine_labels": ["0"] * COUNT}), "fine_labels are not all integers"),
    ):
        (folder / "train").write_bytes(content)
        with pytest.raises(DataError, match=f"train: {message}"):
            CIFAR100(root)


class Call:
    """Pickles as a call of anything with anything."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_run_nothing(tmp_path: Path, protocol: int) -> None:
    folder = write(tmp_path, "cifar-100", "python", packed=False)
    sign = tmp_path / "sign"
    touch = f"open({str(sign)!r}, 'w').close()"
    for payload, name in (
        (Call(os.system, f"touch {sign}"), rf"{os.system.__module__}\.system"),
        (Call(eval, touch), r"(__builtin__|builtins)\.eval"),
        (Call(exec, touch), r"(__builtin__|builtins)\.exec"),
        (Call(subprocess.Popen, ["touch", str(sign)]), r"(commands|subprocess)\.Popen"),
    ):
        (folder / "train").write_bytes(pickle.dumps({"data": payload, "fine_labels": [0]}, protocol))
        with pytest.raises(
            DataError, match=rf"cifar-100-python: train: the pickle names {name}, .*do not use"
        ):
            CIFAR100(tmp_path)
        assert not sign.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"cos\nsystem\n(S'exit 1'\ntR.", r"names os\.system"),
        (b"(S'exit 1'\nios\nsystem\n.", r"names os\.system"),
        (b"(cos\nsystem\nS'exit 1'\no.", r"names os\.system"),
        (b"cnumpy\nndarray.tofile\n.", r"names numpy\.ndarray\.tofile"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", r"names numpy\.ndarray\.tofile"),
        (b"cnumpy.core.multiarray\nscalar\n.", r"names numpy\.core\.multiarray\.scalar"),
        (b"cbuiltins\neval\n.", r"names builtins\.eval"),
        (b"Pstranger\n.", "no readable pickle"),
        (b"\x82\x01.", "no readable pickle"),
        (b"\x80\x02}(U\x01aNu", "no readable pickle"),
    ],
)
def test_no_opcode_leads_around_the_table(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"file: .*{message}"):
        load_plain(data, "file")


def test_sizes_in_a_pickle_are_not_believed() -> None:
    good = python_2({"data": pixels(1)})
    shape = b"(K\x04M\x00\x0ct"
    assert shape in good
    for bad in (b"(K\x05M\x00\x0ct", b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft"):
        with pytest.raises(DataError, match="no readable pickle"):
            load_plain(good.replace(shape, bad), "file")
