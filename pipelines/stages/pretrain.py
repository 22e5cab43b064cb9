"""The training that some methods put before the transfer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ...transfer import PretrainTask, without_classifier
from ..workspace import Workspace
from .stage import Stage


def pretrain_stage(workspace: Workspace, *, term: str) -> Stage:
    """Build the pretraining of a term, at a constant learning rate; the student's classifier is frozen.

    Args:
        workspace: has the student.
        term: name of the term.
    """
    state, config, data = workspace.student, workspace.config, workspace.builder.data
    pretrain = state.terms[term].pretrain
    assert pretrain is not None, f"{term} has no pretraining"
    dataset, inputs = workspace.inputs(state.teachers, state.reads)
    train_config = replace(
        config.transfer.train,
        epochs=pretrain.epochs,
        schedule="constant",
        warmup_epochs=0.0,
        lr=pretrain.lr or config.lr,
    )
    return Stage(
        PretrainTask(state.student, pretrain, inputs),
        dataset,
        fingerprint=state.fingerprint,
        train_config=train_config,
        optimizer=workspace.builder.overrides.get("optimizer"),
        context=partial(without_classifier, state.student, data.shape(data.modality)),
        finish=lambda _: pretrain.finish(),
    )
