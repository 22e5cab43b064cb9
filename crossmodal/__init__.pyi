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
from .protocol import Pairs, Protocol, RunResult
from .recognition import RecognitionProtocol
from .samples import RecognitionImages, Samples, load_recognition, load_samples
from .segmentation import SegmentationProtocol
from .terms import TERMS

__all__ = [
    "PRESETS",
    "TERMS",
    "CrossModalConfig",
    "DataConfig",
    "Pairs",
    "ProbeConfig",
    "Protocol",
    "RecognitionConfig",
    "RecognitionImages",
    "RecognitionProtocol",
    "RecognitionTeacherConfig",
    "RunResult",
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
