from .errors import CrdkitError, ManifestError, OutputError, ResumeError
from .files import atomically, flush, require_space, sha256, write_json, write_text
from .machine import ask_large_pages, cache_folder, processor
from .manifest import MANIFEST, Manifest, differences, plain, read_manifest, write_manifest
from .names import nearest

__all__ = [
    "MANIFEST",
    "CrdkitError",
    "Manifest",
    "ManifestError",
    "OutputError",
    "ResumeError",
    "ask_large_pages",
    "atomically",
    "cache_folder",
    "differences",
    "flush",
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
