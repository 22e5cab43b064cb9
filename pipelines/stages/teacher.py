"""The training of one teacher."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import Subset

from ...engine import SupervisedTask, derive_seed, digest
from ...transfer import Teacher

if TYPE_CHECKING:
    from ..base import Pipeline


def train_teacher(pipeline: Pipeline, number: int, before: nn.Module | None) -> Teacher:
    """Teacher `number` of a pipeline, trained here unless its weights are given.

    Args:
        before: the teacher before this one, for snapshots.
    """
    teacher, config = pipeline.make_teacher(number), pipeline.config.teacher
    if not config.trains(number):
        return teacher
    labels, train, seed = pipeline.supervise(teacher.modality), config.train, config.seed + number
    fingerprint: dict[str, Any] = {
        "differ_by": config.differ_by,
        "modality": teacher.modality,
        "initial": digest(teacher.network.state_dict()),
    }
    if config.differ_by == "snapshots" and before is not None:
        teacher.network.load_state_dict(before.state_dict())
        train = replace(train, warmup_epochs=0.0)
        fingerprint["begin"] = digest(before.state_dict())
    samples = labels.dataset
    if config.differ_by == "bootstrap":
        generator = torch.Generator().manual_seed(derive_seed("bootstrap", seed))
        rows = torch.randint(len(samples), (len(samples),), generator=generator)
        samples = Subset(samples, rows.tolist())
    pipeline.teacher_histories[number] = pipeline.stages.train(
        f"teachers/{teacher.modality}-seed-{seed}",
        SupervisedTask(teacher.network, labels.augment, modality=teacher.modality),
        samples,
        train,
        seed,
        evaluate=labels.evaluate,
        fingerprint=fingerprint,
    )
    return teacher
