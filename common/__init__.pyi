from .errors import CrdkitError, ManifestError, OutputError, ResumeError
from .files import atomically, flush, require_space, sha256, write_json, write_text
from .machine import cache_folder, free_memory, processor
from .manifest import MANIFEST, Manifest, differences, plain, read_manifest, write_manifest
from .names import nearest

__all__ = [
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
    "free_memory",
    "nearest",
    "plain",
    "processor",
    "read_manifest",
    "require_space",
    "sha256",
    "write_json",
    "write_manifest",
    "write_text",
]
