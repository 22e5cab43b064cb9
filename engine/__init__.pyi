from .average import WeightAverage
from .batchnorm import shared_statistics
from .checkpoint import Checkpoint, CheckpointStore
from .config import LaunchConfig, RunConfig, TrainConfig, check_once, check_seeds
from .errors import (
    CheckpointError,
    CrdkitError,
    FrozenError,
    Interrupted,
    LaunchError,
    NonFiniteError,
    OutputError,
    RanksError,
    ResumeError,
    TaskError,
    WorkerError,
)
from .evaluate import Evaluate
from .files import digest
from .launch import Accelerator, end_training, from_main, leave_group, make_accelerator
from .loop import train
from .optimization import OptimizerFactory, Schedule, lr_factor, make_optimizer
from .precision import Choice, fast_precision, milliseconds
from .progress import Progress, in_words
from .rng import derive_seed, seed_all
from .sampler import BatchSource, ShardedBatchSampler
from .stages import StageRunner, last_and_best, seeded
from .supervised import SupervisedTask, augment_in_fp32, label_loss
from .task import Task, check_task, weighted_sum
from .tracking import log_pictures

__all__ = [
    "Accelerator",
    "BatchSource",
    "Checkpoint",
    "CheckpointError",
    "CheckpointStore",
    "Choice",
    "CrdkitError",
    "Evaluate",
    "FrozenError",
    "Interrupted",
    "LaunchConfig",
    "LaunchError",
    "NonFiniteError",
    "OptimizerFactory",
    "OutputError",
    "Progress",
    "RanksError",
    "ResumeError",
    "RunConfig",
    "Schedule",
    "ShardedBatchSampler",
    "StageRunner",
    "SupervisedTask",
    "Task",
    "TaskError",
    "TrainConfig",
    "WeightAverage",
    "WorkerError",
    "augment_in_fp32",
    "check_once",
    "check_seeds",
    "check_task",
    "derive_seed",
    "digest",
    "end_training",
    "fast_precision",
    "from_main",
    "in_words",
    "label_loss",
    "last_and_best",
    "leave_group",
    "log_pictures",
    "lr_factor",
    "make_accelerator",
    "make_optimizer",
    "milliseconds",
    "seed_all",
    "seeded",
    "shared_statistics",
    "train",
    "weighted_sum",
]
