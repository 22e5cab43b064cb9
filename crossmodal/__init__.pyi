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
from .samples import Samples, load_samples
from .segmentation import SegmentationPipeline

__all__ = [
    "PRESETS",
    "CrossModalConfig",
    "DataConfig",
    "ProbeConfig",
    "RecognitionConfig",
    "RecognitionPipeline",
    "Samples",
    "SegmentConfig",
    "SegmentationConfig",
    "SegmentationPipeline",
    "SegmentersConfig",
    "load_samples",
]
