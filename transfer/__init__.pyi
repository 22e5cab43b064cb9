from .cache import Cache, CachedAugmentations, cached_targets
from .classification import ClassificationPipeline, fingerprint_of, statistics_of
from .config import PipelineConfig, TeachersConfig, TransferConfig
from .dry_run import check_pipeline, dry_step
from .networks import Network, Own, classifier_of, make_network, normalize_by, with_normalization
from .pipeline import Pipeline
from .plan import Judging, Plan, Planned, make_plan, planned_steps
from .results import RunResult, Supervision, Transferred
from .spec import TransferData, make_spec, reads_of
from .targets import Targets, Teacher, TeacherTargets, alike
from .task import Inputs, PretrainTask, TransferModule, TransferTask

__all__ = [
    "Cache",
    "CachedAugmentations",
    "ClassificationPipeline",
    "Inputs",
    "Judging",
    "Network",
    "Own",
    "Pipeline",
    "PipelineConfig",
    "Plan",
    "Planned",
    "PretrainTask",
    "RunResult",
    "Supervision",
    "Targets",
    "Teacher",
    "TeacherTargets",
    "TeachersConfig",
    "TransferConfig",
    "TransferData",
    "TransferModule",
    "TransferTask",
    "Transferred",
    "alike",
    "cached_targets",
    "check_pipeline",
    "classifier_of",
    "dry_step",
    "fingerprint_of",
    "make_network",
    "make_plan",
    "make_spec",
    "normalize_by",
    "planned_steps",
    "reads_of",
    "statistics_of",
    "with_normalization",
]
