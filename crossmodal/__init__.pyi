from .config import (
    CrossModalConfig,
    DataConfig,
    SegmentationConfig,
    SegmentConfig,
    StudentConfig,
    TeacherConfig,
    TransferConfig,
)
from .presets import PRESETS
from .protocol import MethodRun, Pairs, Protocol
from .samples import Samples, load_samples
from .segmentation import SegmentationProtocol
from .terms import TERMS

__all__ = [
    "PRESETS",
    "TERMS",
    "CrossModalConfig",
    "DataConfig",
    "MethodRun",
    "Pairs",
    "Protocol",
    "Samples",
    "SegmentConfig",
    "SegmentationConfig",
    "SegmentationProtocol",
    "StudentConfig",
    "TeacherConfig",
    "TransferConfig",
    "load_samples",
]
