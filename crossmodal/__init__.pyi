from .config import (
    CrossModalConfig,
    DataConfig,
    ProbeConfig,
    RecognitionConfig,
    SegmentationConfig,
    SegmentConfig,
    SegmentersConfig,
)
from .presets import PRESETS
from .recognition import RecognitionPipeline
from .samples import RecognitionImages, Samples, load_recognition, load_samples
from .segmentation import SegmentationPipeline

__all__ = [
    "PRESETS",
    "CrossModalConfig",
    "DataConfig",
    "ProbeConfig",
    "RecognitionConfig",
    "RecognitionImages",
    "RecognitionPipeline",
    "Samples",
    "SegmentConfig",
    "SegmentationConfig",
    "SegmentationPipeline",
    "SegmentersConfig",
    "load_recognition",
    "load_samples",
]
