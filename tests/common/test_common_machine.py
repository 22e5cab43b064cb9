"""The user's own folder for what is kept beside any run."""

from pathlib import Path

import pytest

from crdkit.common import cache_folder, free_memory, processor


def test_it_is_the_user_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "deep"))
    folder = cache_folder()
    assert folder == tmp_path / "deep/crdkit" and folder.stat().st_mode & 0o077 == 0
    assert cache_folder() == folder
    folder.chmod(0o775)
    with pytest.raises(OSError):
        cache_folder()


def test_without_a_home_it_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(OSError):
        cache_folder()


def test_a_processor_has_a_name() -> None:
    assert processor() and processor() == processor()


def test_free_memory_is_what_the_system_and_a_container_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    5 kB\n", "/sys/fs/cgroup/memory.max": "max\n"}

    def read(path: Path, **_: str) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert free_memory() == 5 * 1024
    files["/sys/fs/cgroup/memory.max"] = "4096\n"
    assert free_memory() == 4096
    files.clear()
    assert free_memory() is None
