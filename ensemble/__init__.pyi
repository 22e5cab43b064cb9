from .config import EnsembleConfig
from .pipeline import EnsemblePipeline
from .pool import EnsembleMean, describe, disputed, draw_subset, mean_logits, right_where_disputed
from .presets import PRESETS

__all__ = [
    "PRESETS",
    "EnsembleConfig",
    "EnsembleMean",
    "EnsemblePipeline",
    "describe",
    "disputed",
    "draw_subset",
    "mean_logits",
    "right_where_disputed",
]
