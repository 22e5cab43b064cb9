from .errors import CrdkitError, ManifestError, OutputError, ResumeError
from .files import atomically, flush, require_space, sha256, write_json, write_text
from .machine import cache_folder, processor
from .manifest import MANIFEST, Manifest, differences, plain, read_manifest, write_manifest
from .names import nearest
from .ranks import are_rows_equal, equal_rows

__all__ = [
    "MANIFEST",
    "CrdkitError",
    "Manifest",
    "ManifestError",
    "OutputError",
    "ResumeError",
    "are_rows_equal",
    "atomically",
    "cache_folder",
    "differences",
    "equal_rows",
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
