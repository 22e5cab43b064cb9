"""The training that some methods put before the transfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from ...distillers import Term
from ...transfer import Inputs, PretrainTask, without_classifier

if TYPE_CHECKING:
    from ..base import Pipeline


def pretrain(
    pipeline: Pipeline,
    stage: str,
    student: nn.Module,
    term: Term,
    seen: tuple[Any, Inputs],
    seed: int,
    fingerprint: Mapping[str, Any],
) -> None:
    """A term's pretraining, at a constant learning rate; the student's classifier stays as it is.

    Args:
        seen: the data set of the transfer, and how a step reads its batches.
    """
    assert term.pretrain is not None
    (dataset, inputs), config = seen, pipeline.config
    if term.pretrain.epochs:
        train = replace(
            config.transfer.train,
            epochs=term.pretrain.epochs,
            schedule="constant",
            warmup_epochs=0.0,
            lr=term.pretrain.lr or config.lr,
        )
        task = PretrainTask(student, term.pretrain, inputs)
        with without_classifier(student, pipeline.data.shape(pipeline.data.modality)):
            pipeline.stages.train(
                stage,
                task,
                dataset,
                train,
                seed,
                fingerprint=fingerprint,
                optimizer=pipeline.own.get("optimizer"),
            )
    term.pretrain.finish()
