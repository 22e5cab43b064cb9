"""What is decoded once: the same bits from the cache folder, and nothing of what has changed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from crdkit.data import DataError, PairedTensors, decode_once, decoded

Decode = Callable[[], PairedTensors]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CRDKIT_DECODED", raising=False)
    return tmp_path / "cache" / "crdkit"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "images").write_bytes(b"encoded")
    return tmp_path / "images"


def make() -> PairedTensors:
    generator = torch.Generator().manual_seed(0)
    found = PairedTensors(
        rgb=torch.randint(256, (5, 3, 4, 6), generator=generator).to(torch.uint8),
        depth=torch.randn(5, 1, 4, 6, generator=generator).where(torch.rand(5, 1, 4, 6) > 0.1, torch.nan),
        label=torch.tensor([2, 0, 1, 1, 0]),
    )
    found.num_classes, found.class_names = 3, ("cat", "dog", "fox")
    return found


def refuse() -> PairedTensors:
    raise DataError("decoded again")


def test_the_second_time_gives_the_bits_of_the_first(cache: Path, file: Path) -> None:
    whole = make()
    first = decode_once({"size": (4, 6)}, lambda: whole, file=file)
    again = decode_once({"size": (4, 6)}, refuse, file=file)
    assert first is whole and list(again.tensors) == list(whole.tensors)
    for name, tensor in whole.tensors.items():
        other = again.tensors[name]
        assert other.dtype == tensor.dtype and other.numpy().tobytes() == tensor.numpy().tobytes()
    assert (again.num_classes, again.class_names) == (3, ("cat", "dog", "fox"))
    again.tensors["rgb"].zero_()  # its own memory, not the file's
    assert decode_once({"size": (4, 6)}, refuse, file=file).tensors["rgb"].any()


def test_what_it_was_made_of_and_the_file_count(
    cache: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_once({"size": 4}, make, file=file)
    with pytest.raises(DataError):
        decode_once({"size": 5}, refuse, file=file)
    file.write_bytes(b"encodee")
    with pytest.raises(DataError):
        decode_once({"size": 4}, refuse, file=file)
    file.write_bytes(b"encoded")
    decode_once({"size": 4}, refuse, file=file)
    monkeypatch.setattr(decoded, "_decoder", lambda _: "another version")
    with pytest.raises(DataError):
        decode_once({"size": 4}, refuse, file=file)


def test_what_is_damaged_is_decoded_anew(cache: Path, file: Path) -> None:
    decode_once({}, make, file=file)
    (stored,) = cache.glob("decoded-*/rgb.npy")
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(DataError):
        decode_once({}, refuse, file=file)
    decode_once({}, make, file=file)
    decode_once({}, refuse, file=file)


def test_nothing_is_kept_of_large_files_or_without_a_place(
    cache: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("CRDKIT_DECODED", "0")
        decode_once({}, make, file=file)
        patch.setenv("CRDKIT_DECODED", "1")
        patch.setattr(decoded, "LARGEST", 6)
        decode_once({}, make, file=file)
        (tmp_path / "plain").touch()
        patch.setattr(decoded, "LARGEST", 2**20)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "plain"))
        decode_once({}, make, file=file)
    assert not list(cache.glob("decoded-*"))
    with pytest.raises(DataError, match="decoded again"):  # of an absent file the decoder says more
        decode_once({}, refuse, file=tmp_path / "absent")


def test_what_was_not_used_for_the_longest_time_goes(
    cache: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_once({"number": 0}, make)
    size = sum(path.stat().st_size for path in cache.glob("decoded-*/*"))
    monkeypatch.setattr(decoded, "TOTAL", int(2.5 * size))
    decode_once({"number": 1}, make)
    decode_once({"number": 0}, refuse)
    decode_once({"number": 2}, make)
    decode_once({"number": 0}, refuse)
    with pytest.raises(DataError):
        decode_once({"number": 1}, refuse)
