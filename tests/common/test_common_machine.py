"""The user's own folder for what is kept beside any run."""

import sys
from pathlib import Path

import pytest
import torch

from crdkit.common import ask_large_pages, cache_folder, processor


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
