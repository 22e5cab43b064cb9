from .config import (
    CrossModalConfig,
    DataConfig,
    ProbeConfig,
    RecognitionConfig,
    RecognitionTeacherConfig,
    SegmentationConfig,
    SegmentConfig,
    StudentConfig,
    TeacherConfig,
    TransferConfig,
)
from .presets import PRESETS
from .protocol import MethodRun, Pairs, Protocol
from .recognition import RecognitionProtocol
from .samples import RecognitionImages, Samples, load_recognition, load_samples
from .segmentation import SegmentationProtocol
from .terms import TERMS

__all__ = [
    "PRESETS",
    "TERMS",
    "CrossModalConfig",
    "DataConfig",
    "MethodRun",
    "Pairs",
    "ProbeConfig",
    "Protocol",
    "RecognitionConfig",
    "RecognitionImages",
    "RecognitionProtocol",
    "RecognitionTeacherConfig",
    "Samples",
    "SegmentConfig",
    "SegmentationConfig",
    "SegmentationProtocol",
    "StudentConfig",
    "TeacherConfig",
    "TransferConfig",
    "load_recognition",
    "load_samples",
]
