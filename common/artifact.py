"""Artifacts: folders with a manifest of their files, bit for bit, and of the settings that made them.

Checkpoints, finished stages and caches are artifacts. The manifest is written last: a folder that has one is
complete.
"""

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ManifestError, ResumeError
from .files import atomically, sha256, write_json

MANIFEST = "manifest.json"
ABSENT = "absent"
MAX_LISTED = 8
"""Differences that an error lists."""


@dataclass(frozen=True)
class Artifact:
    """A folder of files with a manifest.

    with Artifact.write(folder, fingerprint) as made:
        np.save(made / "rows.npy", rows)
    artifact = Artifact.open(folder, fingerprint)
    """

    folder: Path
    fingerprint: dict[str, Any]
    """JSON values that decide the contents of the files: settings, digests of data and networks."""
    files: dict[str, dict[str, Any]]
    """`bytes` and `sha256` of each file, by its name."""

    @classmethod
    @contextlib.contextmanager
    def write(cls, folder: Path, fingerprint: Mapping[str, Any], *, exist_ok: bool = False) -> Iterator[Path]:
        """Yield a folder to write files in, which becomes `folder` with its manifest when the block ends.

        After an error or a kill there is no `folder`.

        Args:
            folder: must not exist.
            fingerprint: JSON values that decide the contents.
            exist_ok: keep the `folder` that another process has written meanwhile, instead of an error.

        Raises:
            OSError: the folder exists or cannot be written.
        """
        try:
            with atomically(folder) as made:
                made.mkdir()
                yield made
                cls.seal(made, fingerprint)
        except OSError as error:
            if not (exist_ok and error.errno in (errno.ENOTEMPTY, errno.EEXIST) and folder.is_dir()):
                raise

    @staticmethod
    def seal(folder: Path, fingerprint: Mapping[str, Any], names: tuple[str, ...] | None = None) -> None:
        """Write the manifest of the named files in a folder, or of all its plain files if `names` is None.

        Raises:
            OSError: a file is missing or the folder cannot be written.
        """
        if names is None:
            names = tuple(sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != MANIFEST))
        files = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in names
        }
        write_json(folder / MANIFEST, {"fingerprint": plain(fingerprint), "files": files})

    @classmethod
    def open(
        cls, folder: Path, fingerprint: Mapping[str, Any] | None = None, *, verify: bool = True
    ) -> "Artifact":
        """Read the manifest of a folder and check its files against it.

        Args:
            folder: the artifact.
            fingerprint: what the artifact must have been made with; None for anything.
            verify: read every file and compare its digest; otherwise only its size is compared.

        Raises:
            ManifestError: there is no manifest, it cannot be read, or a file is missing, cut or damaged; the
                message names the file.
            ResumeError: the fingerprint is another one; the message lists the differences.
        """
        artifact = cls(folder, *_read_manifest(folder / MANIFEST))
        for name, entry in artifact.files.items():
            file = folder / name
            if file.parent != folder or not file.is_file():
                raise ManifestError(f"{file} is missing")
            if file.stat().st_size != entry["bytes"]:
                raise ManifestError(f"{file} has {file.stat().st_size} bytes instead of {entry['bytes']}")
            if verify and sha256(file) != entry["sha256"]:
                raise ManifestError(f"{file} is damaged: its SHA-256 is not the manifest's")
        if fingerprint is not None and (lines := differences(artifact.fingerprint, fingerprint)):
            more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
            listed = "; ".join([*lines[:MAX_LISTED], *more])
            raise ResumeError(f"{folder} was made with other settings: {listed}; delete it to make it again")
        return artifact

    @staticmethod
    def delete(folder: Path) -> None:
        """Delete an artifact, its manifest first: a kill in between leaves nothing that looks complete."""
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _read_manifest(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Fingerprint and files of a manifest."""
    try:
        content = json.loads(path.read_bytes())
        return dict(content["fingerprint"]), {
            str(name): {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])}
            for name, entry in content["files"].items()
        }
    except FileNotFoundError:
        raise ManifestError(f"{path} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{path} cannot be read ({error})") from error


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return a line for each entry that differs between two fingerprints: `data.size: 32 in the folder …`."""
    flat_saved, flat_current = _flat(plain(saved)), _flat(plain(current))
    return [
        f"{name}: {flat_saved.get(name, ABSENT)} in the folder, {flat_current.get(name, ABSENT)} now"
        for name in dict.fromkeys([*flat_saved, *flat_current])
        if flat_saved.get(name, ABSENT) != flat_current.get(name, ABSENT)
    ]


def plain(value: Any) -> Any:
    """Convert to JSON values: string keys, lists for tuples, strings for paths."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = item
    return flat
