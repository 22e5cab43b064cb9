from .config import CrossModalConfig, DataConfig, SegmentConfig, StudentConfig, TeacherConfig, TransferConfig
from .presets import PRESETS
from .protocol import MethodRun, Protocol
from .samples import Samples, load_samples
from .terms import TERMS

__all__ = [
    "PRESETS",
    "TERMS",
    "CrossModalConfig",
    "DataConfig",
    "MethodRun",
    "Protocol",
    "Samples",
    "SegmentConfig",
    "StudentConfig",
    "TeacherConfig",
    "TransferConfig",
    "load_samples",
]
