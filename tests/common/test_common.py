"""Whole files, manifests, and the nearest names."""

import contextlib
import errno
import json
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crdkit.common import (
    Artifact,
    ManifestError,
    ResumeError,
    atomically,
    differences,
    nearest,
    plain,
    used_disk,
    write_json,
    write_text,
)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one")
    with pytest.raises(RuntimeError), atomically(path) as made:
        made.write_text("half of tw")
        raise RuntimeError
    assert path.read_text() == "one" and [p.name for p in path.parent.iterdir()] == ["file.txt"]
    write_text(path, "two")
    assert path.read_text() == "two"


def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    with atomically(tmp_path / "a.bin") as made:
        os.close(os.open(made, os.O_CREAT | os.O_WRONLY, 0o600))
    (tmp_path / "b").touch()
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    with Artifact.write(tmp_path / "folder", {"lr": 0.1}) as made:
        (made / "a").write_text("a")
        assert not (tmp_path / "folder").exists() and made.suffix == ""
    assert Artifact.open(tmp_path / "folder").fingerprint == {"lr": 0.1}
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(OSError), atomically(tmp_path / "folder") as made:
        made.mkdir()
        (made / "b").write_text("b")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    "fault", ["missing", "cut", "flipped", "elsewhere", "no manifest", "no json", "no size"]
)
def test_what_is_not_as_the_manifest_says_is_named(fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"abcd")
    Artifact.seal(folder, {"seed": 1})
    assert Artifact.open(folder).files["weights.bin"]["bytes"] == 4
    named = "weights.bin"
    if fault == "missing":
        (folder / "weights.bin").unlink()
    elif fault in ("cut", "flipped"):
        (folder / "weights.bin").write_bytes(b"abc" if fault == "cut" else b"abce")
    elif fault == "elsewhere":
        (tmp_path / "other").write_bytes(b"abcd")
        text = (folder / "manifest.json").read_text().replace("weights.bin", "../other")
        (folder / "manifest.json").write_text(text)
        named = "other"
    else:
        named = "manifest.json"
        if fault == "no manifest":
            (folder / named).unlink()
        elif fault == "no json":
            (folder / named).write_text("{")
        else:
            write_json(folder / named, {"fingerprint": {}, "files": {"weights.bin": {}}})
    with pytest.raises(ManifestError, match=named):
        Artifact.open(folder)
    if fault == "flipped":
        assert Artifact.open(folder, verify=False).fingerprint == {"seed": 1}


def test_an_artifact_of_other_settings_is_refused_with_the_differences(tmp_path: Path) -> None:
    with Artifact.write(tmp_path / "cache", {"size": 32, "seed": 0}) as made:
        (made / "a").write_text("a")
    assert Artifact.open(tmp_path / "cache", {"size": 32, "seed": 0}).files.keys() == {"a"}
    with pytest.raises(ResumeError, match=r"cache.*size: 32.*64"):
        Artifact.open(tmp_path / "cache", {"size": 64, "seed": 0})


@pytest.mark.parametrize("exist_ok", [True, False])
def test_of_two_writers_the_first_artifact_stays(exist_ok: bool, tmp_path: Path) -> None:
    def write(text: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        with Artifact.write(tmp_path / "cache", {}, exist_ok=exist_ok) as made:
            (made / "a").write_text(text)
            meanwhile()

    with contextlib.nullcontext() if exist_ok else pytest.raises(OSError, match="cache"):
        write("second", meanwhile=lambda: write("first"))
    assert (tmp_path / "cache" / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_no_artifact_is_left_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Artifact.write(tmp_path / "cache", {}) as made:
        (made / "a").write_text("a")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_differences_are_told_by_their_path() -> None:
    saved = {"data": {"size": 32, "root": Path("a")}, "seeds": (0, 1), "old": 1}
    assert differences(plain(saved), saved) == []
    found = differences(saved, {"data": {"size": 64, "root": "a"}, "seeds": [0, 1], "new": {"x": 2}})
    assert [line.split(":")[0] for line in found] == ["data.size", "old", "new.x"]
    assert "32" in found[0] and "64" in found[0]


def test_near_names_come_before_all_names() -> None:
    assert "resnet20" in nearest("resnet2", ["vgg8", "resnet20"]) and "vgg8" not in nearest(
        "resnet2", ["vgg8", "resnet20"]
    )
    assert "vgg8, wrn" in nearest("zzz", ["vgg8", "wrn"])
    assert "(100 in all)" in nearest("zzz", [f"name-{i}" for i in range(100)])


def test_what_is_not_finite_is_null_and_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"x\.json: null for .*rows\[1\]\.loss nan, rows\[1\]\.iou\[0\] inf"):
        write_json(tmp_path / "x.json", {"rows": [{"loss": 1.0}, {"loss": math.nan, "iou": [math.inf]}]})
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "rows": [{"loss": 1.0}, {"loss": None, "iou": [None]}]
    }


def test_a_full_disk_names_the_file_and_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "old.json").write_text("{}")
    monkeypatch.setattr(Path, "write_text", full)
    for name in ("old.json", "new.json"):
        with pytest.raises(OSError, match=rf"No space left.*{name}"):
            write_json(tmp_path / name, {})
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    assert (tmp_path / "old.json").read_text() == "{}"


def test_a_folder_is_measured_while_another_process_writes_there(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a", "deep/b"):
        (tmp_path / name).write_bytes(bytes(1000))
    assert used_disk(tmp_path) == 2000 and used_disk(tmp_path / "absent") == 0
    end = threading.Event()

    def write() -> None:
        while not end.is_set():
            write_text(tmp_path / "deep" / "c", "c" * 500)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        sizes = [used_disk(tmp_path) for _ in range(300)]
    finally:
        end.set()
        writer.join()
    assert min(sizes) >= 2000 and used_disk(tmp_path) == 2500
