"""Files out of folders and archives, read in memory: a member's name is compared, never opened as a path."""

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

from .batch import DataError


def read_folder(folder: Path, names: Collection[str]) -> dict[str, bytes]:
    """The named files of a folder. Raises `DataError` that names those that are missing."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}; extract the archive again")
    return {name: (folder / name).read_bytes() for name in names}


def read_tar(
    path: Path, folder: str, names: Collection[str], *, md5: str | None, url: str
) -> dict[str, bytes]:
    """The named files of a `.tar.gz` that has them in `folder`.

    Args:
        md5: the archive's published checksum, compared before anything is read; None leaves it unchecked.
        url: where to get the archive, for a message.

    Raises:
        DataError: a web page in the place of an archive, a wrong checksum (expected and actual), an archive
            that is cut or damaged, a member that is missing or no plain file.
    """
    again = f"get it again from {url}"
    check_no_page(path, again)
    if md5 is not None:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if actual != md5:
            size = path.stat().st_size
            raise DataError(
                f"{path}: its MD5 is {actual}, expected {md5}; these {size} bytes are cut short, damaged or "
                f"another file, {again}"
            )
    wanted = {f"{folder}/{name}": name for name in names}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.name in wanted and member.isreg():
                    stream = archive.extractfile(member)
                    assert stream is not None, "a plain file has content"
                    found[wanted[member.name]] = stream.read()
                if len(found) == len(wanted):
                    break
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: no readable archive of {path.stat().st_size} bytes ({error}); it may be cut short, "
            f"{again}"
        ) from error
    if missing := sorted(set(names) - set(found)):
        raise DataError(f"{path} has no {folder}/{missing[0]}; {again}")
    return found


def open_zip(path: Path, url: str) -> zipfile.ZipFile:
    """Open for reading; each member's checksum is compared when it is read. `DataError` as for `read_tar`."""
    again = f"get it again from {url}"
    check_no_page(path, again)
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"{path}: no readable archive of {path.stat().st_size} bytes ({error}); it may be cut short, "
            f"{again}"
        ) from error


def check_no_page(path: Path, again: str) -> None:
    """Raise `DataError` for HTML: what a browser saves where a server answers with an error."""
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{path} is a web page, not an archive; {again}")
