from .batch import IGNORE, Batch, BatchDataset, Sample, collate
from .config import AugmentConfig, ImageAugmentConfig, ImagesConfig, check_shares
from .datasets.cifar import CIFAR10, CIFAR100
from .datasets.colored_shapes import ColoredShapes
from .datasets.digits import Digits
from .datasets.image_folder import ImageFolder
from .datasets.packed_images import PackedImages
from .datasets.stl10 import STL10
from .datasets.tiny_imagenet import TinyImageNet
from .decoded import decode_once
from .encodings import (
    METERS,
    WITHOUT_HOLES,
    Encoding,
    Fit,
    Unit,
    check_encodings,
    parse_encodings,
    with_depth_scale,
)
from .errors import DataError
from .holes import readings
from .identity import digest
from .in_memory import PairedTensors, stored_blocks, to_serve, to_store
from .indexed import WithIndex, with_index
from .inputs import Input, read_inputs
from .io.arrays import Array
from .io.mapped import ArrayWriter, MappedArray
from .io.video import VideoFile
from .modality import check_modality, modality_tensor, read_modality
from .reading import InWorker, device_of, rank_and_ranks, read_in_order, read_rows, received, upload
from .selection import JoinedPairs, SelectedPairs, evenly_spaced, join, select, subset
from .sources import SOURCES, load_images
from .splits import ImageSplits, load_splits
from .statistics import Normalize, Statistics
from .transforms.augment import ImageAugment, PairedAugment, augment_images
from .transforms.channels import (
    CHANNELS,
    ChannelDataset,
    ChannelModalities,
    lab_modalities,
)
from .transforms.mix import Mix, Mixed

__all__ = [
    "CHANNELS",
    "CIFAR10",
    "CIFAR100",
    "IGNORE",
    "METERS",
    "SOURCES",
    "STL10",
    "WITHOUT_HOLES",
    "Array",
    "ArrayWriter",
    "AugmentConfig",
    "Batch",
    "BatchDataset",
    "ChannelDataset",
    "ChannelModalities",
    "ColoredShapes",
    "DataError",
    "Digits",
    "Encoding",
    "Fit",
    "ImageAugment",
    "ImageAugmentConfig",
    "ImageFolder",
    "ImageSplits",
    "ImagesConfig",
    "InWorker",
    "Input",
    "JoinedPairs",
    "MappedArray",
    "Mix",
    "Mixed",
    "Normalize",
    "PackedImages",
    "PairedAugment",
    "PairedTensors",
    "Sample",
    "SelectedPairs",
    "Statistics",
    "TinyImageNet",
    "Unit",
    "VideoFile",
    "WithIndex",
    "augment_images",
    "check_encodings",
    "check_modality",
    "check_shares",
    "collate",
    "decode_once",
    "device_of",
    "digest",
    "evenly_spaced",
    "join",
    "lab_modalities",
    "load_images",
    "load_splits",
    "modality_tensor",
    "parse_encodings",
    "rank_and_ranks",
    "read_in_order",
    "read_inputs",
    "read_modality",
    "read_rows",
    "readings",
    "received",
    "select",
    "stored_blocks",
    "subset",
    "to_serve",
    "to_store",
    "upload",
    "with_depth_scale",
    "with_index",
]
