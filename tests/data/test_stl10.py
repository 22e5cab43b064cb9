"""STL-10 from files in the published layout, whole and spoilt, and what reading them costs."""

import hashlib
import io
import multiprocessing
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.datasets import STL10 as PUBLISHED

from crdkit.data import STL10, DataError, ImagesConfig, PairedTensors, load_images, load_splits
from crdkit.data.io.archives import unpack_tar
from crdkit.data.io.decode import resize_color
from crdkit.engine.sampler import BatchSource

CLASSES = ("airplane", "bird", "car")
LABELS = {"train": [2, 0, 1, 2, 0, 1, 1, 2], "test": [1, 0, 2]}
COUNTS = {"train": 8, "test": 3, "unlabeled": 5}
FOLDS = [[(3 * fold + step) % 8 for step in range(4)] for fold in range(10)]
URL = r"http://ai\.stanford\.edu/~acoates/stl10/stl10_binary\.tar\.gz"


def images(split: str) -> np.ndarray:
    """(N, 96, 96, 3) as a person sees them: red tells the row, green the column, blue the image."""
    result = np.empty((COUNTS[split], 96, 96, 3), "u1")
    result[..., 0] = 2 * np.arange(96)[:, None]
    result[..., 1] = 255 - np.arange(96)
    result[..., 2] = 30 * np.arange(COUNTS[split])[:, None, None]
    result[:, 5, 70] = np.random.default_rng(len(split)).integers(0, 256, (COUNTS[split], 3))
    return result


def write_images(path: Path, pictures: np.ndarray) -> None:
    """As the authors wrote them: a plane for each color, a column of the image after the other."""
    with path.open("wb") as file:
        for picture in pictures:
            for color in range(3):
                for column in range(96):
                    file.write(picture[:, column, color].tobytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "stl10_binary"
    folder.mkdir(parents=True)
    for split in COUNTS:
        write_images(folder / f"{split}_X.bin", images(split))
    for split, labels in LABELS.items():
        (folder / f"{split}_y.bin").write_bytes(bytes(label + 1 for label in labels))
    (folder / "class_names.txt").write_text("\n".join(CLASSES) + "\n")
    (folder / "fold_indices.txt").write_text("".join(" ".join(map(str, fold)) + " \n" for fold in FOLDS))
    return folder


def pack(folder: Path, place: Path, *, prefix: str = "") -> Path:
    """The archive of the folder, with members that mean harm before the good ones."""
    place.mkdir(parents=True, exist_ok=True)
    path = place / "stl10_binary.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name in (
            "../evil",
            "stl10_binary/../../evil",
            str(place.parent / "absolute"),
            "stl10_binary/more",
        ):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("stl10_binary/train_X.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "../../evil"
        archive.addfile(link)
        for file in sorted(folder.iterdir()):
            archive.add(file, f"{prefix}stl10_binary/{file.name}")
    return path


def believe(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PUBLISHED, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("split", COUNTS)
def test_rows_and_columns_are_where_a_person_sees_them(folder: Path, split: str) -> None:
    expected = torch.from_numpy(images(split)).permute(0, 3, 1, 2).float() / 255
    for root in (folder.parent, folder, str(folder)):
        dataset = STL10(root, split)
        assert len(dataset) == COUNTS[split]
        assert (dataset.class_names, dataset.num_classes) == (CLASSES, 3)
        rows = list(range(COUNTS[split]))[::-1]
        batch = dataset.__getitems__(rows)
        assert torch.equal(batch["rgb"], expected[rows]) and batch["rgb"].is_contiguous()
        assert batch["index"].tolist() == rows
        assert {name: value.dtype for name, value in batch.items()} == {
            "index": torch.int64,
            "rgb": torch.float32,
        } | ({"label": torch.int64} if split in LABELS else {})
        if split in LABELS:
            assert dataset.labels.tolist() == LABELS[split]
            assert batch["label"].tolist() == LABELS[split][::-1]
    sample = dataset[2]
    assert torch.equal(sample["rgb"], expected[2]) and sample["index"].item() == 2
    assert sample["index"].shape == sample.get("label", torch.tensor(0)).shape == ()
    for wrong in (COUNTS[split], -1):
        with pytest.raises(IndexError, match=rf"{wrong}.*{COUNTS[split]}"):
            dataset[wrong]


def test_it_is_what_torchvision_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)  # of the official files
    for split in COUNTS:
        theirs, ours = datasets.STL10(str(folder.parent), split), STL10(folder, split)
        assert len(ours) == len(theirs)
        for row, (image, label) in enumerate(theirs):
            assert np.array_equal(np.asarray(image) / np.float32(255), ours[row]["rgb"].permute(1, 2, 0))
            assert split == "unlabeled" or ours[row]["label"] == label
    for number, fold in enumerate(STL10(folder).folds):
        theirs = datasets.STL10(str(folder.parent), "train", folds=number)
        assert theirs.labels.tolist() == STL10(folder).labels[fold].tolist()


def test_the_unlabeled_split_has_no_labels(folder: Path) -> None:
    dataset = STL10(folder, "unlabeled")
    assert dataset.split == "unlabeled" and set(dataset[0]) == {"index", "rgb"} and dataset.folds == ()
    with pytest.raises(DataError, match=r"unlabeled_X\.bin"):
        _ = dataset.labels
    with pytest.raises(DataError, match=r"unlabeled_X\.bin"):
        STL10(folder, "unlabeled", classes=2)
    for name in ("class_names.txt", "fold_indices.txt", "train_X.bin", "test_y.bin"):
        (folder / name).unlink()
    alone = STL10(folder, "unlabeled")
    assert (len(alone), alone.class_names, alone.num_classes) == (5, (), None)


def test_the_folds_are_rows_of_the_training_images(folder: Path) -> None:
    train = STL10(folder)
    assert [fold.tolist() for fold in train.folds] == FOLDS
    assert all(fold.dtype == torch.int64 for fold in train.folds)
    kept = train.in_memory().to("cpu")
    assert [fold.tolist() for fold in kept.folds] == FOLDS and kept.subset([0]).folds == ()
    assert train.in_memory().subset(train.folds[3]).labels.tolist() == [LABELS["train"][i] for i in FOLDS[3]]
    part = STL10(folder, classes=["car", "airplane"])
    for fold, rows in zip(part.folds, FOLDS, strict=True):
        kept = [row for row in rows if LABELS["train"][row] != 1]
        blue = part.__getitems__(fold)["rgb"][:, 2, 0, 0] * 255 / 30
        assert blue.round().int().tolist() == kept, "the same images, under their new numbers"
    assert STL10(folder, "test").folds == ()
    (folder / "fold_indices.txt").unlink()
    assert STL10(folder).folds == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n" * 4 + "2 8\n", r"5.*'8'.*0.*7"),
        ("0 -1\n", r"line 1: '-1', expected"),
        ("0 1.5\n", r"line 1: '1\.5', expected"),
        ("0 " + "9" * 30 + "\n", r"line 1: '9+', expected"),
        ("0 1\n" * 9 + "2", r"\[2, 2, 2, 2, 2, 2, 2, 2, 2, 1\]"),
        ("0 1\n" * 9, r"\[2, 2, 2, 2, 2, 2, 2, 2, 2\]"),
        ("", r"\[\]"),
        ("<html>", "web page"),
    ],
)
def test_folds_that_cannot_be(folder: Path, text: str, message: str) -> None:
    (folder / "fold_indices.txt").write_text(text)
    with pytest.raises(DataError, match=rf"fold_indices\.txt(.*){message}"):
        STL10(folder)
    assert len(STL10(folder, "test")) == 3


def test_a_part_of_the_classes(folder: Path) -> None:
    part = STL10(folder, classes=["car", 0])
    rows = [row for row, label in enumerate(LABELS["train"]) if label in (2, 0)]
    assert (part.class_names, part.num_classes, len(part)) == (("car", "airplane"), 2, len(rows))
    assert part.labels.tolist() == [[2, 0].index(LABELS["train"][row]) for row in rows]
    batch = part.__getitems__([3, 1])
    assert batch["index"].tolist() == [3, 1] and batch["label"].tolist() == part.labels[[3, 1]].tolist()
    assert torch.equal(batch["rgb"], STL10(folder).__getitems__([rows[3], rows[1]])["rgb"])
    assert STL10(folder, classes=1).labels.tolist() == [0, 0]
    for classes, message in ((["caar"], r"caar.*\bcar\b"), (4, "has 3 classes, got")):
        with pytest.raises(ValueError, match=message):
            STL10(folder, classes=classes)
    with pytest.raises(ValueError, match=r"STL-10.*'val'"):
        STL10(folder, "val")


@pytest.mark.parametrize("size", [(48, 24), (96, 96), (128, 100), (48, 120)])
def test_sizes_are_those_of_the_other_sets(folder: Path, size: tuple[int, int]) -> None:
    dataset = STL10(folder, "unlabeled", size=size)
    expected = np.stack([resize_color(image, size) for image in images("unlabeled")]).transpose(0, 3, 1, 2)
    batch = dataset.__getitems__([4, 0, 4])
    assert torch.equal(batch["rgb"], torch.from_numpy(expected[[4, 0, 4]]).float() / 255)
    assert np.array_equal(dataset.in_memory().tensors["rgb"], expected)
    with pytest.raises(ValueError, match="size"):
        STL10(folder, size=(0, 3))


def test_it_moves_into_memory(folder: Path) -> None:
    dataset = STL10(folder, classes=["bird", "car"])
    memory = dataset.in_memory()
    assert isinstance(memory, PairedTensors) and memory.tensors["rgb"].dtype == torch.uint8
    assert (memory.class_names, memory.num_classes) == (("bird", "car"), 2)
    other = PairedTensors.from_dataset(dataset)
    for name in ("rgb", "label"):
        assert torch.equal(memory.tensors[name], other.tensors[name])
        assert torch.equal(
            memory.__getitems__(range(len(dataset)))[name], dataset.__getitems__(range(len(dataset)))[name]
        )
    assert set(STL10(folder, "unlabeled").in_memory().tensors) == {"rgb"}


def test_it_is_a_source_of_the_pipelines(folder: Path) -> None:
    splits = load_splits(ImagesConfig("stl10", folder.parent, size=32), torch.device("cpu"))
    assert isinstance(splits.train, PairedTensors) and splits.num_classes == 3
    assert splits.train.labels.tolist() == LABELS["train"] and splits.test.labels.tolist() == LABELS["test"]
    assert splits.train[0]["rgb"].shape == (3, 32, 32)
    blue = np.float64([30 * row for row in range(8)]).mean() / 255
    assert splits.measure_statistics().mean["rgb"][2] == pytest.approx(blue, abs=1e-3)
    for split in ("unlabeled", "unlabeled"):
        dataset = load_images("stl10", folder.parent, split, size=48)
        assert isinstance(dataset, STL10) and dataset[4]["rgb"].shape == (3, 48, 48)


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator[None]:
    """The default start method of processes, put back afterwards."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize("started", ["fork", "spawn", "forkserver"], indirect=True)
def test_workers_of_every_start_method_serve_the_same(folder: Path, started: None) -> None:
    source = BatchSource(STL10(folder, size=(32, 40)), batch_size=3, epochs=1, seed=5)
    expected = list(source.load(0, 0))  # read in this process before there are workers
    assert [batch["index"].numel() for batch in expected] == [3, 3, 2]
    for batch, plain in zip(source.load(0, 0, num_workers=1), expected, strict=True):
        assert batch.keys() == plain.keys() == {"index", "rgb", "label"}
        assert all(torch.equal(batch[name], plain[name]) for name in plain)


def test_it_pickles_without_its_images(folder: Path) -> None:
    dataset = STL10(folder, "unlabeled")
    before = dataset[3]["rgb"]
    data = pickle.dumps(dataset)
    assert len(data) < 5000
    assert torch.equal(pickle.loads(data)[3]["rgb"], before)


def test_what_is_missing_is_named_beside_what_is_there(folder: Path) -> None:
    message = (
        r"has no STL-10: expected a folder stl10_binary with train_X\.bin, train_y\.bin, class_names\.txt, "
        rf"or stl10_binary\.tar\.gz; get it from {URL}"
    )
    for root in (folder.parent.parent, folder / "nowhere"):
        with pytest.raises(DataError, match=message):
            STL10(root)
    (folder / "train_y.bin").unlink()
    (folder / "test_X.bin").unlink()
    for root in (folder, folder.parent):
        with pytest.raises(
            DataError,
            match=r"stl10_binary lacks train_y\.bin; found train_X\.bin, unlabeled_X\.bin, test_y\.bin, "
            rf"class_names\.txt, fold_indices\.txt; extract stl10_binary\.tar\.gz again, .* {URL}",
        ):
            STL10(root)
    with pytest.raises(DataError, match=r"test_X\.bin.*train_X\.bin"):
        STL10(folder, "test")
    assert len(STL10(folder, "unlabeled")) == 5


def test_files_that_are_cut_or_out_of_range(folder: Path) -> None:
    path = folder / "train_X.bin"
    whole = path.read_bytes()
    for data in (whole[:-1], whole[:-27648], whole + b"\0", b""):
        path.write_bytes(data)
        with pytest.raises(
            DataError,
            match=rf"train_X\.bin.*{len(data)}.*221184.*27648.*8",
        ):
            STL10(folder)
    path.write_bytes(whole)
    labels = folder / "train_y.bin"
    for data, message in (
        (
            bytes([1, 2, 3, 1, 0, 1, 1, 1]),
            "label 0 of image 4, expected 1 to 3, the number of lines in class",
        ),
        (bytes([1, 2, 3, 1, 1, 1, 4, 0]), "label 4 of image 6, expected 1 to 3"),
        (b"", r"train_y\.bin is empty; extract stl10_binary\.tar\.gz again"),
    ):
        labels.write_bytes(data)
        with pytest.raises(DataError, match=message):
            STL10(folder)
    labels.write_bytes(bytes([1] * 7))
    with pytest.raises(DataError, match=r"train_X\.bin.*221184.*193536.*7"):
        STL10(folder)
    (folder / "class_names.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"class_names\.txt"):
        STL10(folder, "test")
    (folder / "class_names.txt").unlink()

    unlabeled = folder / "unlabeled_X.bin"
    whole = unlabeled.read_bytes()
    for data in (whole[:-1], b""):
        unlabeled.write_bytes(data)
        message = rf"{len(data)} bytes, expected a multiple of 27648 \(officially 2764800000\)"
        with pytest.raises(DataError, match=rf"unlabeled_X\.bin.*{message}"):
            STL10(folder, "unlabeled")


@pytest.mark.parametrize("name", ["test_X.bin", "test_y.bin", "class_names.txt"])
def test_web_pages_in_the_place_of_files(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\n<!DOCTYPE html><html><body>404 Not Found</body></html>")
    with pytest.raises(DataError, match=rf"{name}.*{URL}"):
        STL10(folder, "test")


def test_a_file_that_is_cut_or_goes_while_it_is_read(folder: Path) -> None:
    dataset = STL10(folder, "unlabeled")
    assert dataset[4]["rgb"].shape == (3, 96, 96)
    path = folder / "unlabeled_X.bin"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"unlabeled_X\.bin.*\(.*\)"):
        dataset[4]
    path.unlink()
    with pytest.raises(DataError, match=r"unlabeled_X\.bin.*No such file"):
        dataset[0]


@pytest.mark.parametrize("prefix", ["", "./"])
def test_an_archive_is_unpacked_once_and_nothing_beside_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    path = pack(folder, tmp_path / "outer" / "packed", prefix=prefix)
    believe(path, monkeypatch)
    for root in (path.parent, path):
        dataset = STL10(root)
        assert torch.equal(dataset.in_memory().tensors["rgb"], STL10(folder).in_memory().tensors["rgb"])
    files = {file.name: file.read_bytes() for file in (path.parent / "stl10_binary").iterdir()}
    assert files == {file.name: file.read_bytes() for file in folder.iterdir()}
    assert sorted(file.name for file in path.parent.iterdir()) == ["stl10_binary", path.name]
    assert [file.name for file in path.parent.parent.iterdir()] == ["packed"]
    assert not (tmp_path / "evil").exists()
    path.write_bytes(b"not looked at again")
    assert len(STL10(path.parent, "unlabeled")) == 5


def test_archives_that_are_refused_leave_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(folder, tmp_path / "packed")
    whole = path.read_bytes()
    actual, size = hashlib.md5(whole).hexdigest(), len(whole)
    with pytest.raises(
        DataError,
        match=rf"its MD5 is {actual}, expected 91f7769df0f17e558f3565bffb0c7dfb; these {size} bytes .*{URL}",
    ):
        STL10(path.parent)
    path.write_bytes(b"<html>moved</html>")
    with pytest.raises(DataError, match=f"{URL}"):
        STL10(path.parent)
    for data in (whole[: len(whole) // 2], b"\0" * 5000):
        path.write_bytes(data)
        believe(path, monkeypatch)
        with pytest.raises(DataError, match=rf"\b{len(data)}\b"):
            STL10(path.parent)
    (folder / "fold_indices.txt").unlink()
    believe(pack(folder, path.parent), monkeypatch)
    with pytest.raises(DataError, match=r"stl10_binary/fold_indices\.txt"):
        STL10(path.parent)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_full_disk_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(folder, tmp_path / "packed")
    believe(path, monkeypatch)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tarfile.copyfileobj", full)
        with pytest.raises(
            DataError,
            match=r"\(.*No space left.*\)",
        ):
            STL10(path.parent)
        assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_two_ranks_may_unpack_at_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(folder, tmp_path / "packed")
    believe(path, monkeypatch)
    rename = Path.rename

    def beaten(self: Path, target: Path) -> Path:
        """The other rank's folder gets the name just before."""
        monkeypatch.setattr(Path, "rename", rename)
        names = [file.name for file in folder.iterdir()]
        unpack_tar(path, "stl10_binary", names, md5=PUBLISHED.tgz_md5, url=PUBLISHED.url)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", beaten)
    assert len(STL10(path.parent)) == 8
    assert sorted(file.name for file in path.parent.iterdir()) == ["stl10_binary", path.name]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux")
def test_many_images_are_read_in_little_memory(tmp_path: Path) -> None:
    """553 MB of images, 354 MB of them asked for, in a process whose peak hardly moves."""
    with (tmp_path / "unlabeled_X.bin").open("wb") as file:
        file.truncate(20_000 * 27_648)  # a hole: it occupies no disk
        file.seek(-27_648, io.SEEK_END)
        file.write(b"\xff" * 27_648)
    code = """
import sys, torch, cv2
from crdkit.data import STL10
from torchvision import datasets

def peak():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) / 1000

before = peak()
dataset = STL10(sys.argv[1], "unlabeled")
batches = (dataset.__getitems__(torch.randint(len(dataset), (64,))) for _ in range(200))
assert len(dataset) == 20_000 and all(batch["rgb"].shape == (64, 3, 96, 96) for batch in batches)
assert dataset[19_999]["rgb"].min() == 1
print(peak() - before)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 150, f"the peak rose by {float(result.stdout):.0f} MB"


@pytest.mark.realdata
def test_real_photographs_survive_the_layout(tmp_path: Path, real_data: Path) -> None:
    import h5py

    decoded: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    with h5py.File(real_data / "imagenette96.h5") as file:
        names = [str(name) for name in file.attrs["classes"]]
        for split in COUNTS:
            rows = slice(0, None, len(file[f"{split}/images"]) // 200)
            decoded[split] = np.stack(
                [cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1] for data in file[f"{split}/images"][rows]]
            )
            write_images(tmp_path / f"{split}_X.bin", decoded[split])
            if split in LABELS:
                labels[split] = file[f"{split}/labels"][rows]
                (tmp_path / f"{split}_y.bin").write_bytes(bytes((labels[split] + 1).tolist()))
    (tmp_path / "class_names.txt").write_text("\n".join(names))
    for split, expected in decoded.items():
        dataset = STL10(tmp_path, split)
        assert len(dataset) == len(expected) >= 200 and list(dataset.class_names) == names
        read = dataset.__getitems__(range(len(dataset)))["rgb"].permute(0, 2, 3, 1)
        assert np.array_equal((read * 255).round().to(torch.uint8), expected)
        if split in LABELS:
            assert dataset.labels.tolist() == labels[split].tolist()
