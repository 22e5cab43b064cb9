from .checkpoint import Checkpoint, CheckpointStore
from .classification import (
    ClassifyTask,
    TaughtViews,
    augmented,
    behind,
    classifier_of,
    distil,
    facts_of,
    make_classifier,
    make_pair,
)
from .config import DistilConfig, RunConfig, TrainConfig
from .errors import (
    CheckpointError,
    CrdkitError,
    FrozenError,
    Interrupted,
    NonFiniteError,
    OutputError,
    ResumeError,
    TaskError,
    WorkerError,
)
from .launch import Accelerator, make_accelerator
from .loop import Evaluate, train
from .optimizer import make_optimizer
from .rng import derive_seed, seed_all
from .sampler import BatchSource, ShardedBatchSampler, collate
from .schedule import lr_factor
from .stages import StageRunner, digest, last_and_best, seeded
from .task import Task
from .transfer import TransferModule, TransferTask

__all__ = [
    "Accelerator",
    "BatchSource",
    "Checkpoint",
    "CheckpointError",
    "CheckpointStore",
    "ClassifyTask",
    "CrdkitError",
    "DistilConfig",
    "Evaluate",
    "FrozenError",
    "Interrupted",
    "NonFiniteError",
    "OutputError",
    "ResumeError",
    "RunConfig",
    "ShardedBatchSampler",
    "StageRunner",
    "Task",
    "TaskError",
    "TaughtViews",
    "TrainConfig",
    "TransferModule",
    "TransferTask",
    "WorkerError",
    "augmented",
    "behind",
    "classifier_of",
    "collate",
    "derive_seed",
    "digest",
    "distil",
    "facts_of",
    "last_and_best",
    "lr_factor",
    "make_accelerator",
    "make_classifier",
    "make_optimizer",
    "make_pair",
    "seed_all",
    "seeded",
    "train",
]
