"""Files out of folders and archives: a member's name is compared, never opened as a path."""

import gzip
import hashlib
import shutil
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

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
    check_no_page(path, f"get it again from {url}")
    check_md5(path, md5, url)
    missing = {f"{folder}/{name}" for name in names}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if missing and member.isreg() and member.name.removeprefix("./") in missing:
                    archive.extract(member, part, filter="data")
                    missing.remove(member.name.removeprefix("./"))
        if missing:
            raise DataError(f"{path} has no {min(missing)}; get it again from {url}")
        (part / folder).rename(target)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _unreadable(path, url, error) from error
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


def open_zip(path: Path, url: str) -> zipfile.ZipFile:
    """Open for reading; each member's checksum is compared when it is read. `DataError` as for
    `unpack_tar`."""
    check_no_page(path, f"get it again from {url}")
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises kinds of its own, and some of others, for damaged bytes
        raise _unreadable(path, url, error) from error


def read_member(archive: zipfile.ZipFile, name: str, url: str) -> bytes:
    """One file of a zip archive.

    Raises:
        DataError: a file that is missing, damaged, encrypted or of a compression that Python cannot read.
    """
    where = f"{archive.filename}: {name}"
    try:
        return archive.read(name)
    except KeyError as error:
        raise DataError(f"{where} is missing; get the archive again from {url}") from error
    except RuntimeError as error:  # of which NotImplementedError is one
        raise DataError(
            f"{where} is encrypted or compressed in a way that Python cannot read ({error}); unpack the "
            "archive with the program that made it, and pass the folder"
        ) from error
    except Exception as error:  # zipfile, zlib and lzma raise kinds of their own for damaged bytes
        raise DataError(f"{where} is damaged ({error}); get the archive again from {url}") from error


def _unreadable(path: Path, url: str, error: Exception) -> DataError:
    if isinstance(error, PermissionError):
        return DataError(f"{path} may not be read ({error})")
    size = path.stat().st_size
    return DataError(
        f"{path}: no readable archive of {size} bytes ({error}); it may be cut short, get it again from {url}"
    )


def check_no_page(path: Path, again: str, *, expected: str = "an archive") -> None:
    """Raise `DataError` for HTML: what a browser saves where a server answers with an error."""
    try:
        with path.open("rb") as file:
            head = file.read(512).lstrip().lower()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{path} is a web page, not {expected}; {again}")
