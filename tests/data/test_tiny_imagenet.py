"""Tiny-ImageNet from its published layout, as a folder and as an archive."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from crdkit.data import DataError, TinyImageNet

WNIDS = ("n03", "n01", "n02")  # the published list is in no order either


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of two images, one of them gray; four validation images."""
    root = tmp_path / "tiny-imagenet-200"
    rng = np.random.default_rng(0)
    for number, wnid in enumerate(WNIDS):
        (root / f"train/{wnid}/images").mkdir(parents=True)
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t62\t62\n")
        for row in range(2):
            shape = (64, 64) if (number, row) == (1, 1) else (64, 64, 3)
            write(root / f"train/{wnid}/images/{wnid}_{row}.JPEG", rng.integers(0, 256, shape, "u1"))
    (root / "val/images").mkdir(parents=True)
    lines = []
    for row, wnid in enumerate(("n02", "n03", "n01", "n02")):
        write(root / f"val/images/val_{row}.JPEG", np.full((64, 64, 3), 40 * row, "u1"))
        lines.append(f"val_{row}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val/val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    words = ("n00\tentity", "n01\tgoldfish, Carassius auratus", "n02\tnewt", "n03\tbullfrog, Rana")
    (root / "words.txt").write_text("\n".join(words) + "\n")
    (root / "test/images").mkdir(parents=True)
    write(root / "test/images/test_0.JPEG", np.zeros((64, 64, 3), "u1"))
    return root


def write(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path.with_suffix(".jpg")), image)
    path.with_suffix(".jpg").rename(path)


def pack(folder: Path) -> Path:
    path = folder.parent / "packed" / "tiny-imagenet-200.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"tiny-imagenet-200/{file.relative_to(folder)}")
        archive.writestr("../evil", b"evil")
    return path


def test_folder_and_archive_give_the_same(folder: Path) -> None:
    path = pack(folder)
    for root in (folder, folder.parent, path, path.parent):
        train, test = TinyImageNet(root), TinyImageNet(root, "test")
        assert train.class_names == test.class_names == ("goldfish", "newt", "bullfrog")
        assert (train.num_classes, len(train), len(test)) == (3, 6, 4)
        assert train.labels.tolist() == [0, 0, 1, 1, 2, 2] and test.labels.tolist() == [1, 2, 0, 1]
        for row, (wnid, number) in enumerate((w, n) for w in sorted(WNIDS) for n in range(2)):
            stored = cv2.imread(str(folder / f"train/{wnid}/images/{wnid}_{number}.JPEG"))[..., ::-1]
            assert np.array_equal(train.tensors["rgb"][row].permute(1, 2, 0).numpy(), stored)
        assert torch.equal(test[3]["rgb"], torch.full((3, 64, 64), 120 / 255))
    assert not (folder.parent.parent / "evil").exists() and not (folder.parent / "evil").exists()
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name], "nothing is extracted"


def sort_validation(folder: Path, inside: str, *, keep: bool) -> None:
    """As scripts do it: val/WNID/ or val/WNID/images/, with or without the annotations."""
    for line in (folder / "val/val_annotations.txt").read_text().splitlines():
        name, wnid, *_ = line.split("\t")
        (folder / "val" / wnid / inside).mkdir(parents=True, exist_ok=True)
        (folder / "val/images" / name).rename(folder / "val" / wnid / inside / name)
    (folder / "val/images").rmdir()
    if not keep:
        (folder / "val/val_annotations.txt").unlink()


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("inside", ["", "images"])
def test_a_sorted_validation_split(folder: Path, inside: str, keep: bool) -> None:
    train, published = TinyImageNet(folder), TinyImageNet(folder, "test")
    sort_validation(folder, inside, keep=keep)
    (folder / "train/n01/images/._n01_0.JPEG").write_bytes(b"\0\5\x16\7")
    (folder / "val/.ipynb_checkpoints").mkdir()
    (folder / "val/.ipynb_checkpoints/val_0.JPEG").write_bytes(b"x")
    for root in (folder, folder.parent, pack(folder)):
        test = TinyImageNet(root, "test")
        assert test.labels.tolist() == [0, 1, 1, 2]
        assert torch.equal(test.tensors["rgb"], published.tensors["rgb"][[2, 0, 3, 1]])
        assert test.class_names == train.class_names
        assert torch.equal(TinyImageNet(root).tensors["rgb"], train.tensors["rgb"])


def test_validation_that_is_half_sorted_or_not_there(folder: Path) -> None:
    (folder / "val/n01").mkdir()
    (folder / "val/images/val_2.JPEG").rename(folder / "val/n01/val_2.JPEG")
    with pytest.raises(DataError, match=r"val/images.*n01"):
        TinyImageNet(folder, "test")
    (folder / "val/n01/val_2.JPEG").rename(folder / "val/images/val_2.JPEG")
    (folder / "val/val_annotations.txt").unlink()
    with pytest.raises(DataError, match="val_annotations"):
        TinyImageNet(folder, "test")
    for path in (folder / "val/images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="val"):
        TinyImageNet(folder, "test")
    assert len(TinyImageNet(folder)) == 6
    (folder / "val/n77").mkdir()
    write(folder / "val/n77/val_0.JPEG", np.zeros((64, 64, 3), "u1"))
    with pytest.raises(DataError, match="n77"):
        TinyImageNet(folder, "test")


def test_an_archive_that_is_damaged_or_cannot_be_unpacked(folder: Path) -> None:
    path = pack(folder)
    name = "tiny-imagenet-200/words.txt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny-imagenet-200/train/n01/images/a.JPEG", b"x")
        archive.writestr(name, "n01\tgoldfish\n" * 99)
    whole = path.read_bytes()
    place = whole.index(name.encode()) + len(name)
    for number in range(8):
        damaged = bytearray(whole)
        damaged[place + number] ^= 0xFF
        path.write_bytes(bytes(damaged))
        with pytest.raises(DataError, match=r"words\.txt.*damaged"):
            TinyImageNet(path)
    encrypted = bytearray(whole)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[whole.rindex(mark) + offset] |= 1
    path.write_bytes(bytes(encrypted))
    with pytest.raises(DataError, match=r"words\.txt.*encrypted"):
        TinyImageNet(path)


def test_a_part_of_the_classes_at_another_size(folder: Path) -> None:
    part = TinyImageNet(folder, "test", classes=["newt", "goldfish"], size=(32, 32))
    assert part.class_names == ("newt", "goldfish") and part.labels.tolist() == [0, 1, 0]
    assert part.tensors["rgb"].shape == (3, 3, 32, 32)
    assert (part[1]["rgb"] * 255).round().unique().tolist() == [80.0]
    with pytest.raises(ValueError, match=r"goldfisch.*goldfish\b"):
        TinyImageNet(folder, classes=["goldfisch"])


def test_faults_are_named(folder: Path) -> None:
    path = pack(folder)
    with pytest.raises(DataError, match=r"tiny-imagenet-200.*val/val_annotations.txt"):
        TinyImageNet(folder / "train")
    damaged = bytearray(path.read_bytes())
    damaged[damaged.find(b"n01_0.JPEG") + 300] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"train/n01/images/n01_0\.JPEG.*CRC"):
        TinyImageNet(path)
    path.write_bytes(damaged[: len(damaged) // 2])
    with pytest.raises(DataError, match="archive"):
        TinyImageNet(path)
    path.write_bytes(b"<html>not here</html>")
    with pytest.raises(DataError, match="archive"):
        TinyImageNet(path)

    image = folder / "train/n02/images/n02_1.JPEG"
    image.write_bytes(image.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"n02_1\.JPEG"):
        TinyImageNet(folder)
    (folder / "val/images/val_2.JPEG").unlink()
    with pytest.raises(DataError, match=r"val/images/val_2\.JPEG"):
        TinyImageNet(folder, "test")
    (folder / "val/val_annotations.txt").write_text("val_0.JPEG\tn01\nval_1.JPEG\tn77\t0\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt.*2.*'val_1"):
        TinyImageNet(folder, "val")
    with pytest.raises(ValueError, match="'valid'"):
        TinyImageNet(folder, "valid")
