"""What a pipeline has before it: every training with its steps, and, if rehearsed, what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import torch
from torch import Tensor, nn

from ...common import time_calls
from ...data import read_rows
from ...distillers import known_methods, parse_method, settings_of
from ...engine import Accelerator, Task, TrainConfig, seeded, weighted_sum
from ...models import take_parts
from ...transfer import Inputs, PretrainTask, TransferTask, as_kept
from .memory import alike, bytes_of, disk_of
from .trial import Rehearsal, dry_step, rehearsals

if TYPE_CHECKING:
    from ..base import Pipeline

TIMED = 3
"""Steps that are timed; the fastest counts."""


class Judging(NamedTuple):
    """One training of a judge."""

    dataset: Any
    train: TrainConfig
    make_task: Callable[[nn.Module], Task]
    """Student -> what is trained."""


@dataclass(frozen=True)
class Planned:
    """One kind of training, as often as it is taken."""

    name: str
    """`teacher resnet18-0`, `crd transfer`."""
    number: int
    steps: int
    """Optimizer steps of one."""
    parameters: int
    """That train, with the heads of the method's terms."""
    seconds: float
    """Of all of them together, without evaluations."""
    kept: int
    """Bytes that one leaves on the disk."""
    memory: int
    """Bytes of the memories of its terms, on the device."""


@dataclass
class Plan:
    """A whole run."""

    trainings: list[Planned] = field(default_factory=list)
    cache_seconds: float = 0.0
    cache_bytes: int = 0
    checkpoint_bytes: int = 0
    """Of the largest training while it runs."""
    memory_bytes: int = 0
    """The most that the device, or on a CPU the process, held in the steps that were tried."""

    @property
    def seconds(self) -> float:
        """Of all trainings and the cache."""
        return self.cache_seconds + sum(each.seconds for each in self.trainings)

    @property
    def disk_bytes(self) -> int:
        """What the run leaves, and the checkpoints of the training that needs most."""
        return self.checkpoint_bytes + sum(each.number * each.kept for each in self.trainings)


def steps_of(samples: int, train: TrainConfig) -> int:
    """Optimizer steps of a training."""
    return train.epochs * math.ceil(math.ceil(samples / train.batch_size) / train.accumulate)


def planned_steps(pipeline: Pipeline) -> dict[str, int]:
    """Optimizer steps of every training that `runs` takes, by its stage."""
    config, steps = pipeline.config, dict[str, int]()
    if pipeline.own_teachers is None and any(method != "none" for method in config.method):
        for number in filter(config.teacher.trains, range(len(config.teacher))):
            modality = config.teacher.modality_of(number)
            samples = len(pipeline.supervise(modality).dataset)
            stage = f"teachers/{modality}-seed-{config.teacher.seed + number}"
            steps[stage] = steps_of(samples, config.teacher.train)
    samples, train = len(pipeline.data.dataset), config.transfer.train
    for method, folder in pipeline.transfers():
        for name in parse_method(method):
            settings = settings_of(known_methods()[name])
            if "epochs" in settings:
                epochs = pipeline.settings.get(name, {}).get("epochs", settings["epochs"].default)
                steps[f"{folder}/pretrain-{name}"] = epochs * math.ceil(samples / train.batch_size)
        if method != "none" or pipeline.data.is_labeled:
            steps[f"{folder}/transfer"] = steps_of(samples, train)
        for stage, judging in pipeline.judging().items():
            steps[f"{folder}/{stage}"] = steps_of(len(judging.dataset), judging.train)
    return steps


def make_plan(pipeline: Pipeline) -> Plan:
    """Take a few full steps of every kind of training, on networks that are thrown away.

    Raises:
        ValueError, TaskError: as `check_pipeline`, what cannot run.
    """
    plan, accelerator, device = Plan(), pipeline.accelerator, pipeline.accelerator.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    folders, keep = list(pipeline.transfers()), pipeline.config.keep
    cache = _CachePlan()
    with seeded(0):
        for each in rehearsals(pipeline):
            dry_step(each.task, each.dataset, each.train, accelerator, what=each.what)
            batch = _batch(each, device)
            number = sum(method == each.what for method, _ in folders)
            if each.stage == "teachers":
                if any(planned.name == each.what for planned in plan.trainings):
                    continue  # the second of a kind, for methods that know one teacher alone
                number = alike(pipeline, each.what)
            elif pipeline.config.transfer.cached_augmentations:
                batch = cache.count(pipeline, each, batch)
            seconds = _timed(partial(_step, each.task, batch, accelerator), device)
            kind = f" {each.stage}" if each.stage != "teachers" else ""
            _add(plan, each, number, seconds, kind, keep)
        for stage, judging in pipeline.judging().items():
            task = judging.make_task(pipeline.make_student())
            each = Rehearsal("each student's", stage, task, judging.dataset, judging.train)
            dry_step(task, each.dataset, each.train, accelerator, what=stage)
            batch = _batch(each, device)
            seconds = _timed(partial(_step, each.task, batch, accelerator), device)
            _add(plan, each, len(folders), seconds, f" {stage}", keep)
    plan.cache_seconds, plan.cache_bytes = sum(cache.passes.values()), sum(cache.parts.values())
    plan.memory_bytes = (
        torch.cuda.max_memory_allocated(device)
        if device.type == "cuda"
        else psutil.Process().memory_info().rss
    )
    return plan


def _batch(each: Rehearsal, device: torch.device) -> dict[str, Tensor]:
    rows = range(min(each.train.batch_size, len(each.dataset)))
    return {name: value.to(device) for name, value in read_rows(each.dataset, rows).items()}


def _step(task: Task, batch: dict[str, Tensor], accelerator: Accelerator) -> None:
    with accelerator.autocast():
        terms, extra = task.terms(task.module, batch)
    weighted_sum(terms, task.weights_at(0)).backward()
    with torch.no_grad():
        task.update(batch, extra)


def _timed(action: Callable[[], object], device: torch.device) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    (seconds,) = time_calls([action], warmup=0, repeats=TIMED, synchronize=wait)
    return min(seconds)


@dataclass
class _CachePlan:
    """What the cached augmentations of all transfers take."""

    parts: dict[str, int] = field(default_factory=dict)
    """Bytes by name."""
    passes: dict[frozenset[str], float] = field(default_factory=dict)
    """Seconds of each pass of the teachers over the data, by what it keeps beside vectors."""

    def count(self, pipeline: Pipeline, each: Rehearsal, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add a transfer; returns the batch that the cache serves, and has the task read it."""
        assert isinstance(each.task, TransferTask | PretrainTask)
        config, inputs = pipeline.config.transfer, each.task.inputs
        images, targets, _ = inputs(batch)
        dtype = getattr(torch, config.cache_dtype)
        copies = config.cached_augmentations * len(each.dataset) / len(images)
        new, maps = {"images": as_kept(images, inputs.modality)}, set[str]()
        for number, outputs in enumerate(targets):
            given = take_parts(outputs, _named(outputs))
            new |= {f"{number}.{name}": value.to(dtype) for name, value in given.items()}
            maps |= {f"{number}.{name}" for name, value in given.items() if value.ndim > 2}
        self.parts |= {name: round(value.nbytes * copies) for name, value in new.items()}
        if (kept := frozenset(maps if targets else new)) not in self.passes:
            self.passes[kept] = copies * _timed(lambda: inputs(batch), pipeline.accelerator.device)
        each.task.inputs = Inputs(lambda _: targets, inputs.modality)
        return batch | {inputs.modality: images}


def _named(outputs: Any) -> frozenset[str]:
    """The parts of outputs that are there."""
    names = {name for name in ("logits", "embedding") if getattr(outputs, name) is not None}
    return frozenset(names | {f"maps.{i}" for i, each in enumerate(outputs.maps) if each is not None})


def _add(plan: Plan, each: Rehearsal, number: int, seconds: float, kind: str, keep: str) -> None:
    steps, task = steps_of(len(each.dataset), each.train), each.task
    trained = [p for p in task.module.parameters() if p.requires_grad]
    memory = 0 if task.memory is None else bytes_of(task.memory.state_dict())
    kept, checkpoints = disk_of(task, each.train, keep)
    plan.checkpoint_bytes = max(plan.checkpoint_bytes, checkpoints)
    parameters = sum(parameter.numel() for parameter in trained)
    seconds *= number * steps * each.train.accumulate
    plan.trainings.append(Planned(each.what + kind, number, steps, parameters, seconds, kept, memory))
