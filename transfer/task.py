"""The one transfer step, which compression, ensembles and cross-modal transfer share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Batch, Mix, readings
from ..distillers import BatchMeta, PretrainStage, Term
from ..engine import CheckpointError, Task, WeightAverage, augment_in_fp32, digest, label_loss
from ..models import Outputs, classifier_of, load_state, read_weights
from .targets import Targets

STUDENT = "student.safetensors"
"""The file of a student as its transfer left it, in the folder that has the transfer's."""
STUDENT_EMA = "student-ema.safetensors"
"""Beside it, the student with averaged weights."""


class TransferModule(nn.Module):
    """The student and the projectors of its terms: all that trains in a transfer.

    Returns the student's logits and, for each term, the tensors that its objective compares: no more, as
    accelerate copies what a module returns into fp32. Where the student's modality has no reading no term
    trains its maps (`only_readings`).
    """

    def __init__(self, student: nn.Module, projectors: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.student = student
        self.projectors = nn.ModuleDict(projectors)

    def forward(
        self, images: Tensor, targets: tuple[Outputs, ...], readings: Tensor | None = None
    ) -> tuple[Tensor | None, dict[str, tuple[Any, ...]]]:
        outputs: Outputs = self.student(images)
        outputs = only_readings(outputs, readings)
        return outputs.logits, {name: project(outputs, targets) for name, project in self.projectors.items()}


def only_readings(outputs: Outputs, mask: Tensor | None) -> Outputs:
    """The outputs, with maps that take no gradient at positions whose cell of the input has no reading: what
    they should be nobody can see. Their values are the same.

    Args:
        mask: where the input (B, C, H, W) has readings, (B, 1, H, W) bool; None for everywhere.
    """
    if mask is None:
        return outputs
    sizes = {tuple(m.shape[-2:]) for m in outputs.maps}
    seen = {size: F.adaptive_max_pool2d(mask.float(), size) > 0 for size in sizes}
    maps = tuple(torch.where(seen[tuple(m.shape[-2:])], m, m.detach()) for m in outputs.maps)
    return outputs._replace(maps=maps)


@dataclass(frozen=True)
class Inputs:
    """How a step reads a batch: what the student sees of it, and what the teachers say."""

    targets: Targets
    """What the teachers say of a batch."""
    modality: str = "rgb"
    """What the student sees of it."""
    augment: nn.Module | None = None
    """batch -> batch, for teachers and student alike; None if the batches are cached ones."""
    disturb: nn.Module | None = None
    """batch -> batch: what the student's modality undergoes on top, anew in every step."""
    mix: Mix | None = None
    """Mixes the augmented images, for teachers and student alike; None mixes none."""
    frozen: tuple[nn.Module, ...] = ()
    """The teachers, if `targets` runs them; kept from training."""

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Tensor, tuple[Outputs, ...], BatchMeta]:
        """The student's images, the targets, and what an objective may know of the batch."""
        if self.augment is not None:
            batch = augment_in_fp32(batch, self.augment)
        other, share = None, 1.0
        if self.mix is not None:
            batch, other, share = self.mix(batch)
        targets, images = self.targets(batch), batch[self.modality]
        mask = readings(self.modality, images)
        if self.disturb is not None:
            images = self.disturb({self.modality: images})[self.modality]
        return images, targets, BatchMeta(batch["index"], batch.get("label"), mask, other, share)


class TransferTask(Task):
    """Targets without gradients, the student's outputs, the terms; the memory is written last.

    Args:
        student: the network that learns, returning `Outputs`.
        terms: the method's terms by name, as `build_terms` gives them.
        inputs: how a batch is read.
        task_weight: of the cross-entropy with the batch's labels, the term `task`; None for a transfer
            without it.
        ema: the decay of an average of the weights (`WeightAverage`); None for no average.
    """

    may_leave_unused = True
    """Terms read some layers of the student only."""

    def __init__(
        self,
        student: nn.Module,
        terms: Mapping[str, Term],
        inputs: Inputs,
        *,
        task_weight: float | None = None,
        ema: float | None = None,
    ) -> None:
        self.student, self.parts, self.inputs, self.frozen = student, dict(terms), inputs, inputs.frozen
        self.task_weight = task_weight
        self.module = TransferModule(student, {name: term.projector for name, term in terms.items()})
        self.memory = nn.ModuleDict({name: term.objective for name, term in terms.items()})
        self.weights = {name: term.weight for name, term in terms.items()}
        if task_weight is not None:
            self.weights = {"task": task_weight, **self.weights}
        self.average = None if ema is None else WeightAverage(self.module, ema)

    def weights_at(self, epoch: int) -> dict[str, float]:
        """A term with a warm-up has weight·(epoch + 1)/warm-up until it is over, as published."""
        weights = dict(self.weights)
        for name, term in self.parts.items():
            if epoch + 1 < term.warmup_epochs:
                weights[name] *= (epoch + 1) / term.warmup_epochs
        return weights

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        images, targets, meta = self.inputs(batch)
        logits, projected = module(images, targets, meta.readings)
        terms = {name: term.loss(projected[name], meta) for name, term in self.parts.items()}
        if self.task_weight is not None:
            terms = {"task": meta.of_labels(lambda label: label_loss(logits, label)), **terms}
        remembered = {name: term.to_remember(projected[name]) for name, term in self.parts.items()}
        return terms, (meta.index, remembered)

    def update(self, batch: Batch, extra: Any) -> None:
        index, remembered = extra
        for name, term in self.parts.items():
            term.update(remembered[name], index)

    def student_digests(self) -> dict[str, str]:
        """By which `restore` knows the student's files: of the last weights, and of the averaged ones."""
        found = {"student": digest(self.student.state_dict())}
        if self.average is not None:
            with self.average.applied():
                found["ema"] = digest(self.student.state_dict())
        return found

    def restore(self, folder: Path, kept: Mapping[str, Any]) -> None:
        """The student alone, from its files beside the folder: nothing reads the heads after the transfer."""
        files = {"student": folder.parent / STUDENT}
        if self.average is not None:  # first, as the last weights are to stay
            files = {"ema": folder.parent / STUDENT_EMA, **files}
        if any(name not in kept or not path.exists() for name, path in files.items()):
            super().restore(folder, kept)
        student = self.student
        for name, path in files.items():
            state = read_weights(path)
            named_bare = state.keys() != student.state_dict().keys()
            load_state(
                getattr(student, "network", student) if named_bare else student, state, source=str(path)
            )
            if digest(student.state_dict()) != kept[name]:
                raise CheckpointError(f"{path} is not the student that {folder} trained: delete both")
            if name == "ema" and self.average is not None:
                self.average.start()


class PretrainTask(Task):
    """What comes before the transfer, if a method has it: its loss alone. Arguments as of `TransferTask`."""

    may_leave_unused = True

    def __init__(self, student: nn.Module, stage: PretrainStage, inputs: Inputs) -> None:
        self.stage, self.inputs, self.frozen = stage, inputs, inputs.frozen
        self.module = stage.projector
        if stage.trains_student:
            self.module = TransferModule(student, {"pretrain": stage.projector})
        self.weights = {"pretrain": 1.0}

    def terms(self, module: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        images, targets, meta = self.inputs(batch)
        if self.stage.trains_student:
            projected = module(images, targets, meta.readings)[1]["pretrain"]
        else:
            projected = module(None, targets)
        return {"pretrain": self.stage.objective(*projected, meta=meta)}, None


@contextmanager
def without_classifier(network: nn.Module, input_size: tuple[int, int, int]) -> Iterator[None]:
    """Inside, a network's classifier takes no gradient: without one DDP would wait for it, with one it
    decays."""
    classifier = classifier_of(network, input_size)
    parameters = [] if classifier is None else list(classifier.parameters())
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
