from .config import EnsembleConfig, MembersConfig
from .members import EnsembleMean, Member, describe, draw_members, make_pool, mean_logits
from .objectives import ensemble_kd, methods_of_many, soft_targets
from .presets import PRESETS
from .protocol import Protocol, RunResult
from .teachers import Teachers
from .views import FixedViews, ViewStore

__all__ = [
    "PRESETS",
    "EnsembleConfig",
    "EnsembleMean",
    "FixedViews",
    "Member",
    "MembersConfig",
    "Protocol",
    "RunResult",
    "Teachers",
    "ViewStore",
    "describe",
    "draw_members",
    "ensemble_kd",
    "make_pool",
    "mean_logits",
    "methods_of_many",
    "soft_targets",
]
