from .errors import CrdkitError, ManifestError, OutputError, ResumeError
from .files import atomically, flush, require_space, sha256, write_json, write_text
from .lock import LOCK, hold, is_empty, require_free
from .machine import cache_folder, processor
from .manifest import MANIFEST, Manifest, differences, plain, read_manifest, write_manifest
from .names import nearest

__all__ = [
    "LOCK",
    "MANIFEST",
    "CrdkitError",
    "Manifest",
    "ManifestError",
    "OutputError",
    "ResumeError",
    "atomically",
    "cache_folder",
    "differences",
    "flush",
    "hold",
    "is_empty",
    "nearest",
    "plain",
    "processor",
    "read_manifest",
    "require_free",
    "require_space",
    "sha256",
    "write_json",
    "write_manifest",
    "write_text",
]
