from .base import PairedDataset, Sizes
from .caching import cache_parts, content_of
from .config import DataConfig
from .duplicates import near_duplicates
from .figures import Figures, resolve, survey
from .find import table_parts
from .folder_pairs import FolderPairs
from .groups import split_by_group
from .label_maps import check_label_parts
from .load import LoadedParts, load_parts
from .nyu import NYUDepth
from .packed_pairs import PackedPairs
from .stored_pairs import StoredPairs
from .synthetic_rooms.rooms import SyntheticRooms

__all__ = [
    "DataConfig",
    "Figures",
    "FolderPairs",
    "LoadedParts",
    "NYUDepth",
    "PackedPairs",
    "PairedDataset",
    "Sizes",
    "StoredPairs",
    "SyntheticRooms",
    "cache_parts",
    "check_label_parts",
    "content_of",
    "load_parts",
    "near_duplicates",
    "resolve",
    "split_by_group",
    "survey",
    "table_parts",
]
