"""The user's own folder for what is kept beside any run."""

import sys
from pathlib import Path

import pytest
import torch

from crdkit.common import (
    ask_large_pages,
    available_cores,
    cache_folder,
    free_memory,
    processor,
    require_memory,
    require_workers,
)


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


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that is asked")
def test_large_pages_are_asked_for_within_an_array_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Library:
        def madvise(self, place: object, length: object, advice: int) -> int:
            asked.append((place.value, length.value))  # type: ignore[attr-defined]
            return 0

    monkeypatch.setattr("ctypes.CDLL", lambda name: Library())
    array = torch.zeros(3 * 2**20)
    ask_large_pages(array.data_ptr(), array.nbytes)
    ((place, length),) = asked
    assert place % 2**21 == 0 and length % 2**21 == 0 and length >= 2 * 2**21
    assert array.data_ptr() <= place and place + length <= array.data_ptr() + array.nbytes
    ask_large_pages(array.data_ptr(), 1000)
    assert len(asked) == 1


def test_more_than_the_machine_has_is_refused_with_the_figures() -> None:
    require_memory(1000, "a little", "nothing", free=0)
    require_memory(2**27, "a lot", "nothing", free=2**28)
    with pytest.raises(ValueError, match=r"a lot would take 2\.0 GiB, and 1\.0 GiB of memory are free: less"):
        require_memory(2**31, "a lot", "less", free=2**30)
    with pytest.raises(ValueError, match="would take"):
        require_memory(2**60, "a lot", "less")
    require_workers(available_cores())
    with pytest.raises(ValueError, match=r"num_workers=100000 .* cores are there: lower it to"):
        require_workers(100_000)


def test_free_memory_is_what_the_system_and_a_container_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    5 kB\n", "/sys/fs/cgroup/memory.max": "max\n"}

    def read(path: Path, **_: str) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert free_memory() == 5 * 1024
    files["/sys/fs/cgroup/memory.max"] = "4096\n"
    files["/sys/fs/cgroup/memory.current"] = "3000\n"
    files["/sys/fs/cgroup/memory.stat"] = "anon 2000\ninactive_file 904\n"
    assert free_memory() == 2000
    files.clear()
    assert free_memory() is None
