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

from ...common import atomically
from ..batch import DataError


def fetch(url: str, path: Path, md5: str) -> None:
    """Download an archive, whole or not at all. `DataError` if that fails, saying what to do."""
    from torchvision.datasets.utils import download_url

    try:
        with atomically(path) as made:
            download_url(url, str(made.parent), made.name, md5)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{url} cannot be fetched ({error}). Without a network: get it elsewhere and put it at {path}"
        ) from error


def check_md5(path: Path, md5: str, url: str) -> None:
    """Raise `DataError` with both checksums if a file is missing or not the published one."""
    if not path.is_file():
        raise DataError(f"{path} is missing; get it again from {url}")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if actual != md5:
        raise DataError(
            f"{path}: its MD5 is {actual}, expected {md5}; these {path.stat().st_size} bytes are cut short, "
            f"damaged or another file, get it again from {url}"
        )


def unpack_tar(path: Path, folder: str, names: Collection[str], *, md5: str, url: str) -> Path:
    """Write the named files of a `.tar.gz` beside it, all of them or none; nothing else is written.

    Args:
        folder: where the archive has them, and the folder that is made.

    Returns:
        the folder, which must not have had files before.

    Raises:
        DataError: a web page in the place of an archive, a wrong checksum (expected and actual), an archive
            that is cut or damaged, a member that is missing or no plain file, a full or read-only disk.
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
def _open_tar(path: Path, md5: str, url: str) -> Iterator[tarfile.TarFile]:
    """An archive that is what it should be; damage found while it is read is a `DataError`, too."""
    again = f"get it again from {url}"
    check_no_page(path, again)
    check_md5(path, md5, url)
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
    """Open for reading; each member's checksum is compared when it is read. `DataError` as for
    `unpack_tar`."""
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
