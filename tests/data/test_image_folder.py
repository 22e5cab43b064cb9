"""A folder for each class: order, labels, decoding, and the published crops, all as torchvision has them."""

import io
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from crdkit.data import DataError, ImageFolder, PairedTensors
from crdkit.engine.sampler import BatchSource

LEVEL = 1 / 255


def photograph(seed: int, height: int = 90, width: int = 120) -> np.ndarray:
    """Smooth where a photograph is, with edges and some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), "u1")
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    image[height // 3 :, : width // 2] //= 2
    return (image + rng.integers(-9, 10, image.shape)).clip(0, 255).astype("u1")


def save(path: Path, image: Image.Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for row, (split, name, file) in enumerate(
        [
            ("train", "n02", "n02_10.JPEG"),
            ("train", "n02", "n02_9.JPEG"),
            ("train", "n02", "sub/a.png"),
            ("train", "n01", "b.bmp"),
            ("train", "n01", "B.JPG"),
            ("train", "n03", "é ü.webp"),
            ("val", "n03", "x.jpeg"),
            ("val", "n02", "y.tif"),
        ]
    ):
        size = (90 + 7 * row, 120 - 11 * row)
        save(tmp_path / split / name / file, Image.fromarray(photograph(row, *size)))
    (tmp_path / "train/n01/notes.txt").write_text("no image")
    (tmp_path / "train/readme.txt").write_text("no class")
    (tmp_path / "train/.cache").mkdir()
    return tmp_path


def test_order_and_labels_are_those_of_torchvision(root: Path) -> None:
    ours = ImageFolder(root, size=32)
    (root / "train/.cache").rmdir()  # torchvision takes it for a class
    theirs = datasets.ImageFolder(str(root / "train"))
    assert [str(ours.path(row)) for row in range(len(ours))] == [path for path, _ in theirs.samples]
    assert ours.labels.tolist() == theirs.targets == [0, 0, 1, 1, 1, 2]
    assert list(ours.class_names) == theirs.classes and ours.num_classes == 3
    sample = ours[3]
    assert {name: value.dtype for name, value in sample.items()} == {
        "index": torch.int64,
        "rgb": torch.float32,
        "label": torch.int64,
    }
    assert (sample["index"].item(), sample["label"].item()) == (3, 1)
    assert sample["rgb"].shape == (3, 32, 32) and 0 <= sample["rgb"].min() <= sample["rgb"].max() <= 1
    with pytest.raises(IndexError):
        ours[6]


def test_a_test_split_counts_classes_as_the_training_does(root: Path) -> None:
    for split in ("val", "test"):
        test = ImageFolder(root, split, size=32)
        assert test.class_names == ("n01", "n02", "n03") and test.labels.tolist() == [1, 2]
    part = ImageFolder(root, "test", size=32, classes=["n03", "n01"])
    assert part.labels.tolist() == [0] and part.path(0).name == "x.jpeg"
    assert ImageFolder(root, classes=2).labels.tolist() == [0, 0, 1, 1, 1]
    assert ImageFolder(root / "val", None).class_names == ("n02", "n03")
    with pytest.raises(DataError, match=r"val.*n01"):
        ImageFolder(root, "val", classes=["n01"])
    save(root / "val/n04/z.png", Image.fromarray(photograph(0)))
    with pytest.raises(DataError, match=r"val.*n04"):
        ImageFolder(root, "val")


@pytest.mark.parametrize("shape", [(90, 120), (300, 225), (33, 30), (64, 64), (41, 500)])
def test_the_test_view_is_the_published_one(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = Image.fromarray(photograph(1, *shape))
    save(tmp_path / "val/cat/a.png", image)
    ours = ImageFolder(tmp_path, "val", size=56)[0]["rgb"]
    view = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(56), transforms.ToTensor()])
    torch.testing.assert_close(ours, view(image), rtol=0, atol=1.01 * LEVEL)
    full = ImageFolder(tmp_path, "val")[0]["rgb"]
    view = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
    torch.testing.assert_close(full, view(image), rtol=0, atol=1.01 * LEVEL)


def test_the_training_view_is_the_published_one(tmp_path: Path) -> None:
    image = Image.fromarray(photograph(2, 150, 200))
    save(tmp_path / "train/cat/a.png", image)
    folder = ImageFolder(tmp_path, size=48, crop_scale=(0.02, 1.0), crop_ratio=(0.5, 2.0))
    view = transforms.Compose(
        [
            transforms.RandomResizedCrop(48, (0.02, 1.0), (0.5, 2.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    )
    for seed in range(40):
        torch.manual_seed(seed)
        ours = folder[0]["rgb"]
        torch.manual_seed(seed)
        torch.testing.assert_close(ours, view(image), rtol=0, atol=1.01 * LEVEL)


def test_training_views_move_and_flip(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(64, dtype="u1")[:, None] * 4, (64, 64, 3))
    save(tmp_path / "train/cat/a.png", Image.fromarray(ramp.copy()))
    whole = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}
    still = ImageFolder(tmp_path, size=64, flip=0.0, **whole)[0]["rgb"]
    assert torch.equal(still, torch.from_numpy(ramp.transpose(2, 0, 1) / 255).float())
    assert torch.equal(ImageFolder(tmp_path, size=64, flip=1.0, **whole)[0]["rgb"], still.flip(2))
    folder = ImageFolder(tmp_path, size=32)
    modalities = [folder[0]["rgb"] for _ in range(200)]
    mirrored = sum(bool(modality[0, 0, 0] > modality[0, 0, -1]) for modality in modalities)
    assert 70 < mirrored < 130
    save(tmp_path / "train/cat/a.png", Image.fromarray(photograph(0)))
    assert len({folder[0]["rgb"].numpy().tobytes() for _ in range(200)}) == 200
    assert torch.equal(
        ImageFolder(tmp_path, augment=False)[0]["rgb"], ImageFolder(tmp_path, augment=False)[0]["rgb"]
    )


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_every_kind_of_file_is_read_as_pillow_does(tmp_path: Path) -> None:
    color = Image.fromarray(photograph(3, 64, 64))
    turned = Image.Exif()
    turned[274] = 6  # "turn by 90 degrees", which torchvision does not
    kinds = {
        "gray.jpg": encoded(color.convert("L"), "JPEG"),
        "cmyk.jpg": encoded(color.convert("CMYK"), "JPEG"),
        "turned.jpg": encoded(color, "JPEG", exif=turned),
        "progressive.jpg": encoded(color, "JPEG", progressive=True),
        "palette.png": encoded(color.convert("P"), "PNG"),
        "alpha.png": encoded(color.convert("RGBA"), "PNG"),
        "gray_alpha.png": encoded(color.convert("LA"), "PNG"),
        "one_bit.png": encoded(color.convert("1"), "PNG"),
        "png_inside.JPEG": encoded(color, "PNG"),  # ImageNet has one
    }
    folder = tmp_path / "val/kinds"
    folder.mkdir(parents=True)
    for name, data in kinds.items():
        (folder / name).write_bytes(data)
    sixteen = photograph(3, 64, 64).astype("u2") * 256 + 77
    assert cv2.imwrite(str(folder / "sixteen.png"), sixteen[..., ::-1])
    dataset = ImageFolder(tmp_path, "val", size=56)
    view = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(56), transforms.ToTensor()])
    for row in range(len(dataset)):
        path = dataset.path(row)
        stored = color if path.name == "sixteen.png" else Image.open(path).convert("RGB")
        torch.testing.assert_close(
            dataset[row]["rgb"],
            view(stored),
            rtol=0,
            atol=1.01 * LEVEL,
            msg=lambda m, n=path.name: f"{n}: {m}",
        )


def test_damaged_files_are_named(tmp_path: Path) -> None:
    color = Image.fromarray(photograph(4, 64, 64))
    thumbnail = encoded(color.resize((8, 8)), "JPEG")
    jpeg = encoded(color, "JPEG")
    inside = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    with_thumbnail = jpeg[:2] + inside + b"\xff\xff" + jpeg[2:]
    folder = tmp_path / "val/cat"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(with_thumbnail)
    dataset = ImageFolder(tmp_path, "val", size=56)
    assert dataset[0]["rgb"].shape == (3, 56, 56), "whole, with a thumbnail, a fill byte"
    (folder / "a.jpg").write_bytes(jpeg + b"trailing \xff\xda bytes")
    assert dataset[0]["rgb"].shape == (3, 56, 56), "whole, with bytes behind it"
    for data in (
        with_thumbnail[:-200],
        jpeg[: len(jpeg) // 2],
        jpeg[:-2],
        jpeg[:20],
        b"",
        b"<html>404</html>",
        encoded(color, "PNG")[:-300],
    ):
        (folder / "a.jpg").write_bytes(data)
        with pytest.raises(DataError, match=rf"val/cat/a\.jpg.*{len(data)}"):
            dataset[0]
    (folder / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"val/cat/a\.jpg"):
        dataset[0]


def test_layouts_and_settings_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        ImageFolder(tmp_path / "nowhere")
    (tmp_path / "train/cat").mkdir(parents=True)
    (tmp_path / "val").mkdir()  # as ImageNet's is before its images are sorted
    with pytest.raises(DataError, match="found train, val"):
        ImageFolder(tmp_path, "val")
    with pytest.raises(DataError, match=r"train/cat.*\(\.jpg"):
        ImageFolder(tmp_path)
    save(tmp_path / "train/cat/a.png", Image.fromarray(photograph(0)))
    for settings, message in (
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"crop_scale": (0.0, 1.0)}, r"crop_scale must be .*got \(0\.0, 1\.0\)"),
        ({"crop_ratio": (2.0, 1.0)}, r"crop_ratio must be .*got \(2\.0, 1\.0\)"),
        ({"flip": 1.5}, "flip must be between 0 and 1, got 1.5"),
        ({"classes": 2}, "has 1 classes, got classes=2"),
        ({"classes": ["dog"]}, "has no class 'dog': known: cat"),
        ({"classes": []}, "classes must be a number or a list"),
        ({"classes": ["cat", 0]}, "classes names 'cat' more than once"),
        ({"classes": [3]}, "has the classes 0 to 0, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            ImageFolder(tmp_path, **settings)


def test_hidden_files_and_folders_are_no_images(root: Path) -> None:
    names = [str(path) for path in map(ImageFolder(root).path, range(6))]
    for name in ("train/n02/._n02_9.JPEG", "train/n02/sub/.DS_Store", "train/n02/sub/._a.png"):
        (root / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + b"\0" * 80)
    for name in (
        "train/n02/.ipynb_checkpoints/n02_9-checkpoint.JPEG",
        "train/n01/sub/.ipynb_checkpoints/b.png",
        "train/.ipynb_checkpoints/c.png",
        "train/__MACOSX/n01/d.png",
        "val/.hidden/e.png",
    ):
        save(root / name, Image.fromarray(photograph(0)))
    dataset = ImageFolder(root, size=32)
    assert [str(dataset.path(row)) for row in range(len(dataset))] == names
    assert dataset.class_names == ("n01", "n02", "n03") and len(ImageFolder(root, "val")) == 2


def test_linked_folders_are_read_and_loops_refused(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    save(outside / "x.png", Image.fromarray(photograph(0)))
    (root / "train/n01/more").symlink_to(outside, target_is_directory=True)
    (root / "train/n04").symlink_to(outside, target_is_directory=True)
    assert ImageFolder(root, size=32).labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 3]
    (outside / "loop").symlink_to(outside, target_is_directory=True)
    with pytest.raises(DataError, match="loop"):
        ImageFolder(root)


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator[None]:
    """The default start method of processes, put back afterwards."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize("started", ["fork", "spawn", "forkserver"], indirect=True)
def test_the_engine_gets_the_same_views_from_any_workers(root: Path, started: None) -> None:
    source = BatchSource(ImageFolder(root, size=24), batch_size=3, epochs=2, seed=5)
    expected = list(source.load(0, 0))
    assert [batch["index"].numel() for batch in expected] == [3, 3, 3, 3]
    pairs = zip(source.load(0, 0, num_workers=1), expected, strict=True)
    for batch, plain in pairs:
        assert all(torch.equal(batch[name], plain[name]) for name in ("index", "rgb", "label"))
    resumed = next(iter(source.load(1, 1)))
    assert torch.equal(resumed["rgb"], expected[3]["rgb"])
    modalities = {
        int(i): v for batch in expected[:2] for i, v in zip(batch["index"], batch["rgb"], strict=True)
    }
    again = {int(i): v for batch in expected[2:] for i, v in zip(batch["index"], batch["rgb"], strict=True)}
    assert not any(torch.equal(modalities[row], again[row]) for row in modalities), "an epoch draws its own"


def test_a_damaged_file_is_named_from_a_worker(root: Path) -> None:
    dataset = ImageFolder(root, size=24)
    dataset.path(4).write_bytes(b"")
    batches = iter(DataLoader(dataset, 2, num_workers=1, multiprocessing_context="fork"))
    next(batches), next(batches)
    with pytest.raises(DataError, match=r"sub/a\.png.*0"):
        next(batches)
    assert next(batches, None) is None  # ends the worker now, not after the loader's five seconds


def test_it_moves_into_memory(root: Path) -> None:
    dataset = ImageFolder(root, size=32, augment=False)
    memory = PairedTensors.from_dataset(dataset)
    assert memory.tensors["rgb"].dtype == torch.uint8 and memory.tensors["label"].dtype == torch.int64
    assert memory.labels.tolist() == dataset.labels.tolist()
    assert (memory.num_classes, memory.class_names) == (3, ("n01", "n02", "n03"))
    assert all(torch.equal(memory[row]["rgb"], dataset[row]["rgb"]) for row in range(len(dataset)))


@pytest.mark.realdata
def test_real_photographs_survive_the_way_through_a_folder(tmp_path: Path, real_data: Path) -> None:
    import h5py

    from crdkit.data import PackedImages

    with h5py.File(real_data / "imagenette96.h5") as file:
        for row, label in enumerate(file["test/labels"][:40]):
            path = tmp_path / f"val/{label}/{row:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file["test/images"][row].tobytes())
    folder = ImageFolder(tmp_path, "test", size=84)
    packed = PackedImages(real_data / "imagenette96.h5", "test")
    view = transforms.Compose([transforms.Resize(96), transforms.CenterCrop(84), transforms.ToTensor()])
    for row in range(len(folder)):
        path = folder.path(row)
        torch.testing.assert_close(
            folder[row]["rgb"], view(Image.open(path).convert("RGB")), rtol=0, atol=1.01 * LEVEL
        )
        assert torch.equal(folder[row]["rgb"], packed[int(path.stem)]["rgb"][:, 6:90, 6:90])
    assert os.path.isdir(tmp_path / "val/0")
