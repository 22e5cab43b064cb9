from .config import CompressionConfig, ImagesConfig, TeacherConfig
from .images import Images, load
from .presets import CIFAR100, PAIRS, PRESETS
from .protocol import MethodRun, Protocol
from .tasks import ClassifyTask

__all__ = [
    "CIFAR100",
    "PAIRS",
    "PRESETS",
    "ClassifyTask",
    "CompressionConfig",
    "Images",
    "ImagesConfig",
    "MethodRun",
    "Protocol",
    "TeacherConfig",
    "load",
]
