"""The training of one teacher."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import Subset

from ...engine import SupervisedTask, derive_seed, digest
from ..workspace import Workspace
from .stage import History, Stage


def teacher_stage(workspace: Workspace, *, index: int) -> Stage:
    """Build the training of a teacher with the labels of its modality.

    Args:
        workspace: keeps the teacher; with snapshots it has the one before this.
        index: of the teacher in the configuration.
    """
    teacher, config = workspace.add_teacher(index), workspace.config.teacher
    labels, seed = workspace.supervise(teacher.modality), config.seed + index
    network = copy.deepcopy(teacher.network) if workspace.trial else teacher.network
    fingerprint: dict[str, Any] = {
        "differ_by": config.differ_by,
        "modality": teacher.modality,
        "initial": digest(network.state_dict()),
    }
    before = workspace.teachers.get(index - 1)
    if config.differ_by == "snapshots" and before is not None:
        network.load_state_dict(before.network.state_dict())
        fingerprint["begin"] = digest(before.network.state_dict())
    samples = labels.dataset
    if config.differ_by == "bootstrap":
        generator = torch.Generator().manual_seed(derive_seed("bootstrap", seed))
        rows = torch.randint(len(samples), (len(samples),), generator=generator)
        samples = Subset(samples, rows.tolist())

    def finish(history: History) -> None:
        workspace.teacher_histories[index] = history

    task = SupervisedTask(network, labels.augment, modality=teacher.modality)
    train_config = config.train
    if "begin" in fingerprint:
        train_config = replace(train_config, warmup_epochs=0.0)
    return Stage(
        task,
        samples,
        fingerprint=fingerprint,
        evaluate=labels.evaluate,
        train_config=train_config,
        finish=finish,
    )
