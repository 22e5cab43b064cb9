"""Files out of folders and archives: a member's name is compared, never opened as a path."""

import gzip
import hashlib
import shutil
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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
    try:
        with _open_tar(path, md5, url) as archive:
            return {name: stream.read() for name, stream in _members(archive, folder, names, url)}
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); get it again from {url}") from error


def unpack_tar(path: Path, folder: str, names: Collection[str], *, md5: str, url: str) -> Path:
    """Write the named files of a `.tar.gz` beside it, all of them or none; nothing else is written.

    Args:
        folder: where the archive has them, and the folder that is made.

    Returns:
        the folder, which must not have had files before.

    Raises:
        DataError: as `read_tar`, and a full or read-only disk.
    """
    target = path.parent / folder
    part = path.parent / f".tmp-{folder}-{uuid.uuid4().hex[:8]}"
    try:
        with _open_tar(path, md5, url) as archive:
            part.mkdir()
            for name, stream in _members(archive, folder, names, url):
                with (part / name).open("wb") as file:
                    shutil.copyfileobj(stream, file, 1 << 20)
        part.rename(target)
    except OSError as error:
        # Every rank of a run may come here at once: the first to end gives its folder the name.
        if not all((target / name).is_file() for name in names):
            raise DataError(
                f"{path} cannot be unpacked beside itself ({error}); unpack it where there is room, and pass "
                "that folder"
            ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


@contextmanager
def _open_tar(path: Path, md5: str | None, url: str) -> Iterator[tarfile.TarFile]:
    """An archive that is what it should be; damage found while it is read is a `DataError`, too."""
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
    try:
        with tarfile.open(path, "r:gz") as archive:
            yield archive
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: no readable archive of {path.stat().st_size} bytes ({error}); it may be cut short, "
            f"{again}"
        ) from error


def _members(
    archive: tarfile.TarFile, folder: str, names: Collection[str], url: str
) -> Iterator[tuple[str, IO[bytes]]]:
    """The named plain files of `folder`, each to be read before the next. `DataError` for one missing."""
    wanted = {f"{folder}/{name}": name for name in names}
    for member in archive:
        key = member.name.removeprefix("./")
        if key in wanted and member.isreg():
            stream = archive.extractfile(member)
            assert stream is not None, "a plain file has content"
            yield wanted.pop(key), stream
        if not wanted:
            return
    raise DataError(f"{archive.name!s} has no {min(wanted)}; get it again from {url}")


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


def check_no_page(path: Path, again: str, *, expected: str = "an archive") -> None:
    """Raise `DataError` for HTML: what a browser saves where a server answers with an error."""
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{path} is a web page, not {expected}; {again}")
