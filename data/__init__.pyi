from .augment import ImageAugment, PairedAugment, augment_images
from .batch import IGNORE, Batch, DataError, Sample, collate
from .channels import CHANNELS, ChannelDataset, ChannelModalities, lab_image, lab_modalities, split_modalities
from .cifar import CIFAR10, CIFAR100
from .classification import PackedImages
from .config import AugmentConfig, ImageAugmentConfig, ImagesConfig
from .digits import Digits
from .folder import FolderPairs
from .image_folder import ImageFolder
from .mapped import read_manifest, read_mapped, write_mapped
from .nyu import NYUDepth
from .packed import PackedPairs
from .paired import PairedDataset
from .shapes import ColoredShapes
from .sources import SOURCES, load_images
from .splits import ImageSplits, load_splits, load_unlabeled
from .statistics import Normalize, Statistics
from .stl10 import STL10
from .synthetic import SyntheticRooms
from .tensors import PairedTensors
from .tiny_imagenet import TinyImageNet

__all__ = [
    "CHANNELS",
    "CIFAR10",
    "CIFAR100",
    "IGNORE",
    "SOURCES",
    "STL10",
    "AugmentConfig",
    "Batch",
    "ChannelDataset",
    "ChannelModalities",
    "ColoredShapes",
    "DataError",
    "Digits",
    "FolderPairs",
    "ImageAugment",
    "ImageAugmentConfig",
    "ImageFolder",
    "ImageSplits",
    "ImagesConfig",
    "NYUDepth",
    "Normalize",
    "PackedImages",
    "PackedPairs",
    "PairedAugment",
    "PairedDataset",
    "PairedTensors",
    "Sample",
    "Statistics",
    "SyntheticRooms",
    "TinyImageNet",
    "augment_images",
    "collate",
    "lab_image",
    "lab_modalities",
    "load_images",
    "load_splits",
    "load_unlabeled",
    "read_manifest",
    "read_mapped",
    "split_modalities",
    "write_mapped",
]
