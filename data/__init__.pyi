from .base import PairedDataset, Sizes
from .batch import IGNORE, Batch, BatchDataset, Sample, collate
from .config import AugmentConfig, ImageAugmentConfig, ImagesConfig, check_shares
from .datasets.cifar import CIFAR10, CIFAR100
from .datasets.colored_shapes import ColoredShapes
from .datasets.digits import Digits
from .datasets.image_folder import ImageFolder
from .datasets.nyu import NYUDepth
from .datasets.packed_images import PackedImages
from .datasets.packed_pairs import PackedPairs
from .datasets.paired_files import FolderPairs
from .datasets.stl10 import STL10
from .datasets.synthetic_rooms.rooms import SyntheticRooms
from .datasets.tiny_imagenet import TinyImageNet
from .decoded import decode_once
from .encodings import Encoding, parse_encodings, with_depth_scale
from .errors import DataError
from .holes import readings
from .in_memory import PairedTensors
from .indexed import WithIndex, with_index
from .inputs import Input, read_inputs
from .io.arrays import Array
from .io.mapped import ArrayWriter, MappedArray
from .io.video import VideoFile
from .modality import read_modality
from .pairs.duplicates import near_duplicates
from .pairs.find import table_parts
from .pairs.groups import split_by_group
from .pairs.label_maps import check_label_parts
from .pairs.survey import Figures, resolve, survey
from .reading import InWorker, device_of, rank_and_ranks, read_in_order, read_rows, received, upload
from .selection import JoinedPairs, SelectedPairs, evenly_spaced, join, select, subset
from .sources import SOURCES, load_images
from .splits import ImageSplits, load_splits
from .statistics import Normalize, Statistics
from .stored_pairs import StoredPairs
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
    "SOURCES",
    "STL10",
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
    "Figures",
    "FolderPairs",
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
    "NYUDepth",
    "Normalize",
    "PackedImages",
    "PackedPairs",
    "PairedAugment",
    "PairedDataset",
    "PairedTensors",
    "Sample",
    "SelectedPairs",
    "Sizes",
    "Statistics",
    "StoredPairs",
    "SyntheticRooms",
    "TinyImageNet",
    "VideoFile",
    "WithIndex",
    "augment_images",
    "check_label_parts",
    "check_shares",
    "collate",
    "decode_once",
    "device_of",
    "evenly_spaced",
    "join",
    "lab_modalities",
    "load_images",
    "load_splits",
    "near_duplicates",
    "parse_encodings",
    "rank_and_ranks",
    "read_in_order",
    "read_inputs",
    "read_modality",
    "read_rows",
    "readings",
    "received",
    "resolve",
    "select",
    "split_by_group",
    "subset",
    "survey",
    "table_parts",
    "upload",
    "with_depth_scale",
    "with_index",
]
