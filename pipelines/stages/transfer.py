"""The transfer from the teachers to a student."""

from __future__ import annotations

from ...transfer import TransferTask
from ..workspace import Workspace
from .stage import History, Stage


def transfer_stage(workspace: Workspace) -> Stage | None:
    """Build the transfer of the open student.

    None if nothing is left to train: AB and FSP only pretrain, and without labels nothing follows.
    """
    state, builder = workspace.student, workspace.builder
    terms = state.trained_terms
    if not terms and not builder.data.is_labeled:
        return None
    teachers, reads = (state.teachers, state.reads) if terms else ([], ())
    dataset, inputs = workspace.inputs(teachers, reads)
    task = TransferTask(
        state.student,
        terms,
        inputs,
        task_weight=builder.task_weight(state.terms),
        ema=workspace.config.transfer.ema,
    )
    state.task = task
    evaluate = None
    if not workspace.trial:
        evaluate = state.diagnostics.evaluate_with(
            workspace.transfer_evaluate(state.deploy), terms, task.average
        )

    def finish(history: History) -> None:
        state.history = history

    return Stage(
        task,
        dataset,
        fingerprint=state.fingerprint,
        evaluate=evaluate,
        optimizer=builder.overrides.get("optimizer"),
        schedule=builder.overrides.get("schedule"),
        finish=finish,
    )
