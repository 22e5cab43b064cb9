from .artifact import MANIFEST, Artifact, differences, plain
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
from .names import nearest
from .ranks import are_rows_equal, equal_rows

__all__ = [
    "LOCK",
    "MANIFEST",
    "Artifact",
    "CrdkitError",
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
    "require_free",
    "require_memory",
    "require_space",
    "require_workers",
    "sha256",
    "to_json",
    "used_disk",
    "write_json",
    "write_text",
]
