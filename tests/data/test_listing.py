"""The files of a folder: keys, hidden files, links, and problems told all at once."""

import os
import unicodedata
from pathlib import Path

import pytest

from crdkit.data import DataError
from crdkit.data.io.listing import list_files

SUFFIXES = {".png", ".jpg", ".npy"}


def write(root: Path, *names: str, data: bytes = b"x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def test_keys_are_paths_without_ending_sorted(tmp_path: Path) -> None:
    write(
        tmp_path,
        "b/2.PNG",
        "b/10.png",
        "a.jpg",
        "B.npy",
        "kitchen.01.png",
        "notes.txt",
        "b.c/x.png",
        "no_suffix",
    )
    files = list_files(tmp_path, SUFFIXES)
    assert list(files) == ["B", "a", "b.c/x", "b/10", "b/2", "kitchen.01"]
    assert files["b/2"] == tmp_path / "b/2.PNG"
    assert list(list_files(tmp_path, SUFFIXES, recursive=False)) == ["B", "a", "kitchen.01"]


def test_names_are_compared_in_one_form(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        write(tmp_path, f"{form}/" + unicodedata.normalize(form, "café/ü.png"))
    composed, decomposed = (list_files(tmp_path / form, SUFFIXES) for form in ("NFC", "NFD"))
    assert list(composed) == list(decomposed) == [unicodedata.normalize("NFC", "café/ü")]
    assert decomposed["café/ü"].read_bytes() == b"x", "the file keeps the name that it has"
    write(
        tmp_path,
        "both/" + unicodedata.normalize("NFC", "é.png"),
        "both/" + unicodedata.normalize("NFD", "é.png"),
    )
    with pytest.raises(DataError, match="1 × two files"):
        list_files(tmp_path / "both", SUFFIXES)


def test_hidden_files_are_skipped_at_every_depth(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "deep/er/2.png")
    write(
        tmp_path,
        "._1.png",
        "deep/._x.png",
        "deep/er/.DS_Store",
        ".ipynb_checkpoints/1-checkpoint.png",
        "deep/.ipynb_checkpoints/2.png",
        "__MACOSX/deep/1.png",
        "deep/Thumbs.db",
        ".hidden/er/3.png",
        "deep/@eaDir/2.png/thumb.jpg",
        data=b"",
    )
    assert list(list_files(tmp_path, SUFFIXES)) == ["1", "deep/er/2"]
    assert list(list_files(tmp_path, SUFFIXES | {".db"})) == ["1", "deep/er/2"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path, "real/1.png", "data/2.png")
    (tmp_path / "data/linked").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "data/again").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "data/3.png").symlink_to(tmp_path / "real/1.png")
    assert list(list_files(tmp_path / "data", SUFFIXES)) == ["2", "3", "again/1", "linked/1"]
    loop = tmp_path / "real/up"
    for target in (tmp_path / "data", tmp_path / "real", loop):
        loop.symlink_to(target, target_is_directory=True)
        with pytest.raises(DataError, match=r"real|linked|again"):
            list_files(tmp_path / "data", SUFFIXES)
        loop.unlink()


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "1.jpg", "x/2.npy", "x/2.png", "3.png")
    write(tmp_path, *(f"empty/{number}.png" for number in range(8)), data=b"")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError) as caught:
        list_files(tmp_path, SUFFIXES)
    message = str(caught.value)
    for part in (
        "2 × ",
        "1.jpg and 1.png",
        "x/2.npy and x/2.png",
        "8 × ",
        "empty/4.png and 3 more",
        "gone.png",
    ):
        assert part in message
    assert "empty/5.png" not in message


def test_folders_that_are_missing_or_have_nothing(tmp_path: Path) -> None:
    write(tmp_path, "images/1.txt")
    with pytest.raises(DataError, match=r"image: .*images"):
        list_files(tmp_path / "image", SUFFIXES)
    with pytest.raises(DataError, match=r"images.*\.jpg, \.npy, \.png"):
        list_files(tmp_path / "images", SUFFIXES)
    if os.geteuid():
        (tmp_path / "images").chmod(0)
        with pytest.raises(DataError, match="images"):
            list_files(tmp_path / "images", SUFFIXES)
        (tmp_path / "images").chmod(0o700)
