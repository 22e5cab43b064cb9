"""Ensembles: a pool of teachers, then every method with ensembles of every size."""

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..data import read_rows
from ..engine import derive_seed, seeded
from ..pipelines import ClassificationPipeline, Outputs, RunResult, StudentRun, Transferred
from ..transfer import TeacherTargets
from .config import EnsembleConfig
from .pool import EnsembleMean, describe, disputed, draw_subset, right_where_disputed


class EnsemblePipeline(ClassificationPipeline):
    """All stages of a configuration over one set of images; arguments as of `ClassificationPipeline`."""

    config: EnsembleConfig

    def students(self) -> tuple[StudentRun, ...]:
        """Return a student for every seed, draw from the pool, number of teachers and method."""
        given = self.builder.given_teachers
        return ensemble_students(self.config, len(self.config.teacher if given is None else given))

    def distil(self, method: str, teachers: tuple[int, ...], subset_seed: int, seed: int) -> RunResult:
        """Return the result of a student of some teachers of the pool, by their indices."""
        return self.execute(StudentRun(method, seed, teachers, subset_seed))

    def together(self, teachers: tuple[int, ...]) -> EnsembleMean:
        """Return the mean of some teachers of the pool, the same object for consecutive calls."""
        if self._together is None or self._together[0] != teachers:
            self._together = teachers, EnsembleMean([self.teachers[index] for index in teachers])
        return self._together[1]

    def evaluate(self, run: StudentRun, transferred: Transferred, outputs: Outputs) -> RunResult:
        """Return the metrics of a student, compared with its teachers together.

        `right_where_disputed` is about the disputes of the whole pool, for every student the same.
        """
        teachers = run.teachers or ()
        result = self.result(
            run,
            transferred,
            self.together(teachers) if teachers else None,
            teachers=teachers,
            subset_seed=run.seed if run.subset_seed is None else run.subset_seed,
        )
        right = self.evaluator.logits(result.network).vectors.argmax(1) == self.images.test.labels.cpu()
        return replace(result, metrics=result.metrics | right_where_disputed(right, self._disputes))

    _together: tuple[tuple[int, ...], EnsembleMean] | None = None

    @cached_property
    def _disputes(self) -> dict[str, Tensor]:
        return disputed(self.logits, self.images.test.labels.cpu())

    @cached_property
    def logits(self) -> Tensor:
        """Of every teacher for the test split, (N, M, C) float32 on the CPU."""
        return torch.stack([self.evaluator.logits(teacher.network).vectors for teacher in self.teachers])

    def describe(self) -> dict[str, Any]:
        """Accuracy, calibration and diversity of the pool; see `describe`. `training`: the same for training
        images as a student sees them, which is all that it learns of the pool."""
        tested = describe(self.teachers, self.logits, self.images.test.labels.cpu())
        return {**tested, "training": describe(self.teachers, *self._taught)}

    @cached_property
    @torch.no_grad()
    def _taught(self) -> tuple[Tensor, Tensor]:
        """Every teacher's logits for as many augmented training images as there are to test, evenly spaced,
        (N, M, C), and their labels, (M,), on the CPU."""
        data, device, logits, labels = self.data, self.accelerator.device, [], []
        number = min(len(self.images.test), len(data.dataset))
        rows = torch.linspace(0, len(data.dataset) - 1, number).round().long()
        targets = TeacherTargets(self.teachers).to(device)
        with seeded(derive_seed("pool", self.config.teacher.seed)):
            for part in rows.split(self.config.transfer.train.batch_size):
                batch = read_rows(data.dataset, part.tolist())
                batch = data.augment({name: value.to(device) for name, value in batch.items()})
                logits.append(torch.stack([outputs.logits.float().cpu() for outputs in targets(batch)]))
                labels.append(batch["label"].cpu())
        return torch.cat(logits, 1), torch.cat(labels)

    def memory(self) -> str | None:
        """Return a sentence about the method that stores most, with the most teachers; None if none does."""
        config, number = self.config, max(self.config.teachers, default=0)
        size, share = self.data.size_for(config.transfer.train.batch_size), config.transfer.share_student
        parts = [part for method in config.methods.values() for part in method.parts]
        estimates = {part.name: part.estimate(size) for part in parts}
        if not number or not any(estimate.state_what for estimate in estimates.values()):
            return None
        name, estimate = max(estimates.items(), key=lambda item: item[1].state_bytes())

        def mib(share_student: bool) -> str:
            return f"{estimate.state_bytes(number, share_student=share_student) / 2**20:.0f} MiB"

        line = f"{name} with {number} teachers keeps {mib(share)} of {estimate.state_what}"
        if share or not estimate.shared_state:
            return line
        return f"{line}; --transfer.share-student would keep {mib(True)}"


def ensemble_students(config: EnsembleConfig, pool: int) -> tuple[StudentRun, ...]:
    """Return a student for every seed, draw from the pool, number of teachers and method.

    The method `none` has one student for each seed. Without numbers of teachers there are no students.

    Args:
        config: settings of the run.
        pool: number of teachers to draw from.
    """
    runs: list[StudentRun] = []
    methods = [method for method in config.method if method != "none"]
    for seed in config.seed if config.teachers else ():
        if "none" in config.method:
            runs.append(StudentRun("none", seed))
        for subset_seed in config.subset_seed or (seed,):
            for number in config.teachers:
                teachers = draw_subset(pool, number, subset_seed)
                runs += [StudentRun(method, seed, teachers, subset_seed) for method in methods]
    return tuple(runs)
