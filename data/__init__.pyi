from .augment import ImageAugment, PairedAugment, augment_images
from .batch import IGNORE, Batch, DataError, Sample, collate
from .classification import PackedImages
from .config import AugmentConfig, ImageAugmentConfig
from .folder import FolderPairs
from .nyu import NYUDepth
from .packed import PackedPairs
from .paired import PairedDataset
from .statistics import Normalise, Statistics
from .synthetic import SyntheticRooms
from .tensors import PairedTensors

__all__ = [
    "IGNORE",
    "AugmentConfig",
    "Batch",
    "DataError",
    "FolderPairs",
    "ImageAugment",
    "ImageAugmentConfig",
    "NYUDepth",
    "Normalise",
    "PackedImages",
    "PackedPairs",
    "PairedAugment",
    "PairedDataset",
    "PairedTensors",
    "Sample",
    "Statistics",
    "SyntheticRooms",
    "augment_images",
    "collate",
]
