"""Ensembles: a pool of teachers, then every method with ensembles of every size."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..data import read_rows
from ..distillers import DataSize, parse_method
from ..engine import derive_seed, seeded
from ..pipelines import ClassificationPipeline, RunResult, Transferred
from ..transfer import TeacherTargets
from .config import EnsembleConfig
from .pool import EnsembleMean, describe, disputed, draw_subset, right_where_disputed


class EnsemblePipeline(ClassificationPipeline):
    """All stages of a configuration over one set of images; arguments as of `ClassificationPipeline`."""

    config: EnsembleConfig

    def runs(self) -> Iterator[RunResult]:
        """Every seed, subset of the pool, method and number of teachers, as each is done; the pool first."""
        self.check()
        pool = len(self.teachers)
        for seed in self.config.seed if self.config.teachers else ():
            if "none" in self.config.method:
                yield self.judge("none", seed, self.transfer("none", seed))
            for subset_seed in self.config.subset_seed or (seed,):
                for number in self.config.teachers:
                    teachers = draw_subset(pool, number, subset_seed)
                    together = self.together(teachers)
                    for method in self.config.method:
                        if method != "none":
                            yield self.distil(method, teachers, subset_seed, seed, together)

    def transfers(self) -> Iterator[tuple[str, str]]:
        """The method and the folder of every transfer."""
        config = self.config
        for seed in config.seed if config.teachers else ():
            if "none" in config.method:
                yield "none", f"runs/none/seed-{seed}"
            for subset_seed in config.subset_seed or (seed,):
                for number in config.teachers:
                    for method in config.method:
                        if method != "none":
                            yield method, _folder(method, number, subset_seed, seed)

    def together(self, teachers: tuple[int, ...]) -> EnsembleMean:
        """What some of the pool predict together."""
        return EnsembleMean([self.teachers[number] for number in teachers])

    def distil(
        self,
        method: str,
        teachers: tuple[int, ...],
        subset_seed: int,
        seed: int,
        together: EnsembleMean | None = None,
    ) -> RunResult:
        """The student, taught by some of the pool, beside what they predict together; methods that are given
        one `together` are judged beside the same answers of it."""
        together = self.together(teachers) if together is None else together
        folder = _folder(method, len(teachers), subset_seed, seed)
        transferred = self.transfer(method, seed, teachers, folder=folder)
        return self.result(method, seed, transferred, together, teachers=teachers, subset_seed=subset_seed)

    def judge(self, method: str, seed: int, transferred: Transferred) -> RunResult:
        """A student that nobody taught."""
        return self.result(method, seed, transferred, None, subset_seed=seed)

    def result(self, *done: Any, **more: Any) -> RunResult:
        """As of `ClassificationPipeline`; also `right_where_disputed`, the disputes being those of the whole
        pool, for every student the same."""
        found = super().result(*done, **more)
        right = self.evaluator.logits(found.network).vectors.argmax(1) == self.images.test.labels.cpu()
        return replace(found, metrics=found.metrics | right_where_disputed(right, self._disputes))

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
        """Return a sentence with the memory of the method that stores most, with the most teachers; None if
        none stores anything."""
        data, config = self.data, self.config
        has_labels = data.labels is not None and data.labels.ndim == 1
        size = DataSize(
            len(data.dataset), config.transfer.train.batch_size, has_labels, data.groups is not None
        )
        methods = (parse_method(method, self.settings) for method in config.method)
        estimates = {part.name: part.estimate(size) for method in methods for part in method.parts}
        number, share = max(config.teachers, default=0), config.transfer.share_student
        if not number or not any(estimate.state_what for estimate in estimates.values()):
            return None
        name, estimate = max(estimates.items(), key=lambda item: item[1].state_bytes())

        def mib(share_student: bool) -> str:
            return f"{estimate.state_bytes(number, share_student=share_student) / 2**20:.0f} MiB"

        line = f"{name} with {number} teachers keeps {mib(share)} of {estimate.state_what}"
        if share or not estimate.shared_state:
            return line
        return f"{line}; --transfer.share-student would keep {mib(True)}"


def _folder(method: str, teachers: int, subset_seed: int, seed: int) -> str:
    return f"runs/{method}/teachers-{teachers}/draw-{subset_seed}/seed-{seed}"
