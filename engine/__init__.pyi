from .checkpoint import Checkpoint, CheckpointStore
from .config import TrainConfig
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
from .stages import Stages, digest, last_and_best, seeded
from .task import Task
from .transfer import TransferModule, TransferTask

__all__ = [
    "Accelerator",
    "BatchSource",
    "Checkpoint",
    "CheckpointError",
    "CheckpointStore",
    "CrdkitError",
    "Evaluate",
    "FrozenError",
    "Interrupted",
    "NonFiniteError",
    "OutputError",
    "ResumeError",
    "ShardedBatchSampler",
    "Stages",
    "Task",
    "TaskError",
    "TrainConfig",
    "TransferModule",
    "TransferTask",
    "WorkerError",
    "collate",
    "derive_seed",
    "digest",
    "last_and_best",
    "lr_factor",
    "make_accelerator",
    "make_optimizer",
    "seed_all",
    "seeded",
    "train",
]
