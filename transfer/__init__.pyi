from .builder import Builder, Network, Overrides
from .cache import Cache, CachedAugmentations, as_kept, cached_targets
from .config import PipelineConfig, TeachersConfig, TeacherSpec, TransferConfig
from .networks import make_network, normalize_by, with_normalization
from .spec import TransferData, check_mixed, make_spec, reads_of
from .targets import Compiled, Targets, Teacher, TeacherTargets, alike, as_teacher, no_targets
from .task import STUDENT, Inputs, PretrainTask, TransferModule, TransferTask, without_classifier

__all__ = [
    "STUDENT",
    "Builder",
    "Cache",
    "CachedAugmentations",
    "Compiled",
    "Inputs",
    "Network",
    "Overrides",
    "PipelineConfig",
    "PretrainTask",
    "Targets",
    "Teacher",
    "TeacherSpec",
    "TeacherTargets",
    "TeachersConfig",
    "TransferConfig",
    "TransferData",
    "TransferModule",
    "TransferTask",
    "alike",
    "as_kept",
    "as_teacher",
    "cached_targets",
    "check_mixed",
    "make_network",
    "make_spec",
    "no_targets",
    "normalize_by",
    "reads_of",
    "with_normalization",
    "without_classifier",
]
