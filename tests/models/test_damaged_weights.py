"""Files of weights that are damaged, or claim what they do not have."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crdkit.models import read_weights

STATE = {"a.weight": torch.arange(12.0).view(3, 4), "a.bias": torch.ones(3)}


def told(path: Path) -> str:
    with pytest.raises(ValueError, match=path.name) as caught:
        read_weights(path)
    message = str(caught.value)
    assert "\n" not in message and "weights_only" not in message
    return message


def test_every_flipped_bit_of_the_numbers_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": STATE, "epoch": 3}, path)
    whole = path.read_bytes()
    assert read_weights(path).keys() == STATE.keys()
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            at = whole.index(archive.read(member), member.header_offset)
            for place in range(at, at + member.file_size, 5):
                damaged = bytearray(whole)
                damaged[place] ^= 1 << place % 8
                path.write_bytes(damaged)
                assert "checksum" in told(path)


def test_archives_without_checksums_are_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_weights(tmp_path / "w.pth")["a.weight"], STATE["a.weight"])


class Storage:
    """Stands for numbers in a file, as many as it says."""

    def __init__(self, count: int) -> None:
        self.count = count


class Call:
    """What a pickle calls when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def tensor(count: int, size: int, stride: int) -> Call:
    parts = (Storage(count), 0, (size,), (stride,), False, OrderedDict())
    return Call(torch._utils._rebuild_tensor_v2, *parts)


def pickled(content: Any, *tail: Any) -> bytes:
    class Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", value.count, *tail)
            return None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(content)
    return buffer.getvalue()


def write(path: Path, content: Any, *, held: int = 16, packed: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", packed) as archive:
        archive.writestr("w/data.pkl", pickled(content))
        archive.writestr("w/data/0", bytes(held))
        archive.writestr("w/version", "3\n")


def write_old(path: Path, content: Any) -> None:
    about = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(part, 2) for part in (torch.serialization.MAGIC_NUMBER, 1001, about))
    path.write_bytes(
        head + pickled(content, None) + pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16)
    )


CLAIMS = {
    "more numbers": {"w": tensor(4, 3 << 28, 1)},
    "a larger storage": {"w": tensor(3 << 28, 3 << 28, 1)},
    "one number, repeated": {"w": tensor(4, 1 << 38, 0)},
    "no numbers": {"w": Call(torch.FloatTensor, 3 << 28)},
    "bytes": {"w": tensor(4, 4, 1), "x": Call(bytearray, 3 << 30)},
    "terabytes": {"w": tensor(4, 4, 1), "x": Call(bytearray, 1 << 44)},
}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("writer", [write, write_old])
def test_what_a_file_claims_and_has_not_is_refused(
    tmp_path: Path, writer: Callable[..., None], claim: str
) -> None:
    writer(tmp_path / "whole.pth", {"w": tensor(4, 4, 1)})
    assert read_weights(tmp_path / "whole.pth")["w"].shape == (4,)
    writer(tmp_path / "w.pth", CLAIMS[claim])
    told(tmp_path / "w.pth")


def test_archives_that_unfold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    write(path, {"w": tensor(1 << 22, 1 << 22, 1)}, held=1 << 24, packed=zipfile.ZIP_DEFLATED)
    assert "claim" in told(path)


@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_plain_numbers_are_named(tmp_path: Path) -> None:
    eye = torch.eye(3)
    for kind, value in {
        "sparse_coo": eye.to_sparse(),
        "meta": eye.to("meta"),
        "quantized": torch.quantize_per_tensor(eye, 0.1, 0, torch.qint8),
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    }.items():
        torch.save({"a": value}, tmp_path / "w.pth")
        assert f"'a' is a {kind} tensor" in told(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "data", [b"\x80\x02]r\xff\xff\xff\x0f.", b"\x80\x02X\x00\x00\x00\xc0a.", b"", b"\x80"]
)
def test_pickles_of_a_few_bytes(tmp_path: Path, data: bytes) -> None:
    """Python's own reader takes gigabytes for the first."""
    (tmp_path / "w.pth").write_bytes(data)
    told(tmp_path / "w.pth")
