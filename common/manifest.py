"""The manifest of a folder: what its files must be, bit for bit, and which settings they were made with.

Checkpoints, finished stages and caches are folders with one. It is written last, so that a folder with a
manifest was written to its end.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ManifestError
from .files import sha256, write_json

MANIFEST = "manifest.json"
ABSENT = "absent"


@dataclass(frozen=True)
class Manifest:
    """What a folder holds."""

    fingerprint: dict[str, Any]
    """JSON values that decide what the files hold: settings, digests of data and networks."""
    files: dict[str, dict[str, Any]]
    """`bytes` and `sha256` of each file, by its name."""


def write_manifest(
    folder: Path, fingerprint: Mapping[str, Any], names: tuple[str, ...] | None = None
) -> None:
    """Write `manifest.json` over the named files of a folder; over all plain files that are there if None.

    Raises:
        OSError: a file is missing or the folder cannot be written.
    """
    found = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in (found if names is None else names)
    }
    write_json(folder / MANIFEST, {"fingerprint": plain(fingerprint), "files": files})


def read_manifest(folder: Path, *, verify: bool = True) -> Manifest:
    """The manifest of a folder.

    Args:
        verify: read every file and compare its digest; else its size alone.

    Raises:
        ManifestError: there is none, it cannot be read, or a file is missing, cut or damaged; it is named.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
        fingerprint = dict(content["fingerprint"])
        files = {
            str(name): {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])}
            for name, entry in content["files"].items()
        }
    except FileNotFoundError:
        raise ManifestError(f"{path} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{path} cannot be read ({error})") from error
    for name, entry in files.items():
        file = folder / name
        if file.parent != folder or not file.is_file():
            raise ManifestError(f"{file} is missing")
        if file.stat().st_size != entry["bytes"]:
            raise ManifestError(f"{file} has {file.stat().st_size} bytes instead of {entry['bytes']}")
        if verify and sha256(file) != entry["sha256"]:
            raise ManifestError(f"{file} is damaged: its SHA-256 is not the manifest's")
    return Manifest(fingerprint, files)


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """A line for each entry in which two fingerprints differ, nested ones by their path: `data.size: 32
    …`."""
    flat_saved, flat_current = _flat(plain(saved)), _flat(plain(current))
    return [
        f"{name}: {flat_saved.get(name, ABSENT)} in the folder, {flat_current.get(name, ABSENT)} now"
        for name in dict.fromkeys([*flat_saved, *flat_current])
        if flat_saved.get(name, ABSENT) != flat_current.get(name, ABSENT)
    ]


def plain(value: Any) -> Any:
    """Mappings with string keys, lists for tuples, paths as strings: what JSON gives back."""
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
