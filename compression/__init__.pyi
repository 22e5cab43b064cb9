from .config import CompressionConfig
from .pipeline import CompressionPipeline
from .presets import PAIRS, PRESETS

__all__ = ["PAIRS", "PRESETS", "CompressionConfig", "CompressionPipeline"]
