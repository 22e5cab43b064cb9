"""One step of each training on networks that are thrown away: what cannot work is told before any trains."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from ...common import UserError
from ...data import Batch, read_rows
from ...distillers import PretrainStage, Term
from ...engine import (
    Accelerator,
    SupervisedTask,
    Task,
    TrainConfig,
    check_task,
    seeded,
    shared_statistics,
    weighted_sum,
)
from ...models import Outputs, from_parts, take_parts
from ...transfer import PretrainTask, Targets, Teacher, TransferTask, reads_of
from .memory import alike, check_fit, disk_of, require_disk

if TYPE_CHECKING:
    from ..base import Pipeline

SAMPLES = 2
"""Samples of a dry step; fewer if the last batch of an epoch has fewer."""


class Rehearsal(NamedTuple):
    """One training of a pipeline, on networks that are thrown away."""

    what: str
    """Names it in messages: the method, or the teacher."""
    stage: str
    """Its kind: `teachers`, `pretrain`, `transfer`."""
    task: Task
    dataset: Any
    train: TrainConfig


def check_pipeline(pipeline: Pipeline) -> None:
    """Build what every method needs and take one step of it on networks that are thrown away.

    Raises:
        ValueError: one sample to train on, a method that cannot run on these networks, weights that do not
            fit, a last batch of one sample under batch normalization, more memory than is free.
        OutputError: more disk than is free, for all stages together.
    """
    check_fit(pipeline)
    methods, left, largest = [method for method, _ in pipeline.transfers()], dict[str, int](), 0
    with seeded(0):
        for each in rehearsals(pipeline):
            dry_step(each.task, each.dataset, each.train, pipeline.accelerator, what=each.what)
            kept, checkpoints = disk_of(each.task, each.train, pipeline.config.keep)
            number = alike(pipeline, each.what) if each.stage == "teachers" else methods.count(each.what)
            left[f"{each.what} {each.stage}"] = number * kept
            largest = max(largest, checkpoints)
    require_disk(pipeline, largest + sum(left.values()))


def rehearsals(pipeline: Pipeline) -> Iterator[Rehearsal]:
    """Every kind of training, one after the other; each is to be used before the next is asked for."""
    config = pipeline.config
    teachers = _teachers(pipeline)
    for number, teacher in enumerate(teachers):
        if pipeline.own_teachers is None and config.teacher.trains(number):
            labels = pipeline.supervise(teacher.modality)
            network = copy.deepcopy(teacher.network)
            task = SupervisedTask(network, labels.augment, modality=teacher.modality)
            yield Rehearsal(f"teacher {teacher.name}", "teachers", task, labels.dataset, config.teacher.train)
        teacher.network.to(pipeline.accelerator.device)
    pipeline.require_fitting(teachers)
    for method in config.method:
        student = pipeline.make_student()
        terms = pipeline.make_terms(method, student, [] if method == "none" else teachers)
        if terms or pipeline.data.is_labeled:
            yield from _transfer(pipeline, method, student, terms, teachers if terms else [])


def dry_step(task: Task, dataset: Any, train: TrainConfig, accelerator: Accelerator, *, what: str) -> None:
    """Forward, backward and a write of the memory, with as few samples as a rank ever has of a batch.

    Args:
        task: over networks that nobody needs afterwards; they end on the device and in training mode.
        dataset: what it is to train on.
        train: settings of the training.
        what: names the training in messages.

    Raises:
        UserError: the configuration does not allow the step, such as a last batch of one sample.
        TaskError: the task breaks the engine's contract.
    """
    check_task(task)
    last = len(dataset) % train.batch_size or min(train.batch_size, len(dataset))
    device, ranks = accelerator.device, accelerator.num_processes
    last = last // ranks if last >= ranks else last
    batch = read_rows(dataset, range(min(SAMPLES, last)))
    batch = {name: value.to(device) for name, value in batch.items()}
    task.module.to(device).train()
    for part in (task.memory, *task.frozen):
        if part is not None:
            part.to(device)
    try:
        with accelerator.autocast(), shared_statistics(train.sync_batchnorm):
            terms, extra = task.terms(task.module, batch)
        weighted_sum(terms, task.weights_at(0)).backward()
        with torch.no_grad():
            task.update(batch, extra)
    except UserError as error:
        raise type(error)(f"{what} cannot be trained: {error}") from error
    except Exception as error:
        if last == 1 and "more than 1 value per channel" in str(error):
            whose = "" if ranks == 1 else f" for one of {ranks} processes"
            raise UserError(
                f"{what}: the last batch of an epoch has one of the {len(dataset)} samples{whose}, from "
                "which batch normalization has no statistics; choose another batch size than "
                f"{train.batch_size}"
            ) from error
        error.add_note(f"while taking a trial step of {what}")
        raise


def _teachers(pipeline: Pipeline) -> list[Teacher]:
    """Untrained ones: one of each kind, and a second of the first kind if there are more teachers than
    kinds."""
    if all(method == "none" for method in pipeline.config.method):
        return []
    if pipeline.own_teachers is not None:
        return pipeline.own_teachers
    config = pipeline.config.teacher
    first: dict[tuple[object, ...], int] = {}
    for number in range(len(config)):
        kind = (
            config.architecture_of(number),
            config.modality_of(number),
            config.weights_of(number),
            config.layers_of(number),
        )
        first.setdefault(kind, number)
    numbers = list(first.values())
    return [pipeline.make_teacher(n) for n in numbers + numbers[: len(config) > len(numbers)]]


def _transfer(
    pipeline: Pipeline, method: str, student: nn.Module, terms: dict[str, Term], teachers: Sequence[Teacher]
) -> Iterator[Rehearsal]:
    reads = reads_of(terms.values(), len(teachers))
    dataset, inputs = pipeline.inputs(teachers, reads, live=True)
    seen = replace(inputs, targets=partial(_reduced, inputs.targets, reads))
    kept = {name: term for name, term in terms.items() if term.weight}
    train = pipeline.config.transfer.train
    for term in terms.values():
        if term.pretrain is not None:
            task: Task = PretrainTask(student, term.pretrain, seen)
            yield Rehearsal(method, "pretrain", task, dataset, replace(train, **_lasts(term.pretrain)))
    if kept or pipeline.data.is_labeled:
        weight, ema = pipeline.task_weight(terms), pipeline.config.transfer.ema
        task = TransferTask(student, kept, seen, task_weight=weight, ema=ema)
        yield Rehearsal(method, "transfer", task, dataset, train)


def _lasts(stage: PretrainStage) -> dict[str, Any]:
    return {"epochs": max(1, stage.epochs), "warmup_epochs": 0.0}


def _reduced(targets: Targets, reads: Sequence[frozenset[str]], batch: Batch) -> tuple[Outputs, ...]:
    """Of the teachers' outputs the parts that the terms say they read, as a cache would give them."""
    pairs = zip(targets(batch), reads, strict=True)
    return tuple(from_parts(take_parts(outputs, names)) for outputs, names in pairs)
