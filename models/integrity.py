"""Whether a file of weights is what was written, and fills what it claims: torch looks at neither."""

import mmap
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..common import UserError

ARCHIVE = b"PK\x03\x04"
_CLAIM = re.compile(rb"c(?:builtins|__builtin__)\nbytearray\n")
"""In a pickle: bytes of which a number alone says how many they are."""


def check_archive(path: Path) -> None:
    """Compare the checksums of an archive that `torch.save` wrote; files of before 2020 have none.

    Raises:
        ValueError, zipfile.BadZipFile, OSError: a member is not what was written, or there is a claim to more
            bytes than the file has.
    """
    with path.open("rb") as file:
        is_archive = file.read(len(ARCHIVE)) == ARCHIVE
    if not is_archive:
        _check_values(path)
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if (claimed := sum(member.file_size for member in members)) > (size := path.stat().st_size):
            raise UserError(f"{size} bytes that claim to hold {claimed}")
        if not any(member.CRC for member in members):  # torch was told to leave them out
            _check_values(path)
            return
        if (wrong := archive.testzip()) is not None:
            raise UserError(f"the checksum of {wrong} is not that of its contents")
        for member in members:
            if member.filename.endswith(".pkl"):
                _refuse_claims(archive.read(member))


def check_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise `ValueError` for a tensor that is not plain numbers, or claims more of them than the file has."""
    size = path.stat().st_size
    for name, tensor in state.items():
        kinds = {"nested": tensor.is_nested, "quantized": tensor.is_quantized, "meta": tensor.is_meta}
        kind = next(
            (kind for kind, found in kinds.items() if found), str(tensor.layout).removeprefix("torch.")
        )
        if kind != "strided":
            raise UserError(f"{path}: '{name}' is a {kind} tensor, where plain numbers are needed")
        if (claimed := tensor.numel() * tensor.element_size()) > size:
            raise UserError(
                f"{path}: '{name}' {tuple(tensor.shape)} claims {claimed} bytes of a file of {size}; it is "
                "damaged, or expanded (save a copy of it)"
            )


def _check_values(path: Path) -> None:
    if path.stat().st_size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _refuse_claims(content)


def _refuse_claims(pickled: bytes | mmap.mmap) -> None:
    if _CLAIM.search(pickled):
        raise UserError("it has a bytearray, which takes as much memory as it says")
