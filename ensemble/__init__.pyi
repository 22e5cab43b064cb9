from .config import EnsembleConfig
from .pipeline import EnsemblePipeline
from .pool import EnsembleMean, describe, draw_subset, mean_logits
from .presets import PRESETS

__all__ = [
    "PRESETS",
    "EnsembleConfig",
    "EnsembleMean",
    "EnsemblePipeline",
    "describe",
    "draw_subset",
    "mean_logits",
]
