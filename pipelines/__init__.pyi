from .base import Pipeline
from .classification import ClassificationPipeline, fingerprint_of, statistics_of
from .execution import Execution
from .preflight.memory import check_memory
from .preflight.plan import Plan, PlannedTraining, make_plan
from .preflight.preflight import Preflight
from .preflight.trial import check_program, trial_step
from .program import Downstream, Sizes, Training, program
from .results import DataSplits, Outputs, RunResult, Supervision, Transferred
from .runs import StudentRun, stage_folder, students
from .stages.stage import Stage
from .workspace import StudentState, Workspace

__all__ = [
    "ClassificationPipeline",
    "DataSplits",
    "Downstream",
    "Execution",
    "Outputs",
    "Pipeline",
    "Plan",
    "PlannedTraining",
    "Preflight",
    "RunResult",
    "Sizes",
    "Stage",
    "StudentRun",
    "StudentState",
    "Supervision",
    "Training",
    "Transferred",
    "Workspace",
    "check_memory",
    "check_program",
    "fingerprint_of",
    "make_plan",
    "program",
    "stage_folder",
    "statistics_of",
    "students",
    "trial_step",
]
