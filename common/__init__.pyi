from .errors import CrdkitError, ManifestError, OutputError, ResumeError, UserError
from .files import (
    atomically,
    flush,
    free_disk,
    require_space,
    sha256,
    to_json,
    used_disk,
    write_json,
    write_text,
)
from .lock import LOCK, hold, is_empty, require_free
from .machine import (
    ask_large_pages,
    available_cores,
    cache_folder,
    free_memory,
    in_gib,
    processor,
    require_memory,
    require_workers,
)
from .manifest import MANIFEST, Manifest, differences, plain, read_manifest, write_manifest
from .names import nearest
from .ranks import are_rows_equal, equal_rows
from .timing import time_calls

__all__ = [
    "LOCK",
    "MANIFEST",
    "CrdkitError",
    "Manifest",
    "ManifestError",
    "OutputError",
    "ResumeError",
    "UserError",
    "are_rows_equal",
    "ask_large_pages",
    "atomically",
    "available_cores",
    "cache_folder",
    "differences",
    "equal_rows",
    "flush",
    "free_disk",
    "free_memory",
    "hold",
    "in_gib",
    "is_empty",
    "nearest",
    "plain",
    "processor",
    "read_manifest",
    "require_free",
    "require_memory",
    "require_space",
    "require_workers",
    "sha256",
    "time_calls",
    "to_json",
    "used_disk",
    "write_json",
    "write_manifest",
    "write_text",
]
