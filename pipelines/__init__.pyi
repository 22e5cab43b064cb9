from .base import Pipeline
from .classification import ClassificationPipeline, fingerprint_of, statistics_of
from .preflight.plan import Judging, Plan, Planned, make_plan, planned_steps
from .preflight.trial import check_pipeline, dry_step
from .results import RunResult, Supervision, Transferred

__all__ = [
    "ClassificationPipeline",
    "Judging",
    "Pipeline",
    "Plan",
    "Planned",
    "RunResult",
    "Supervision",
    "Transferred",
    "check_pipeline",
    "dry_step",
    "fingerprint_of",
    "make_plan",
    "planned_steps",
    "statistics_of",
]
