"""What compression and ensembles share: classifiers of labeled images as teachers and student."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from ..common import UserError
from ..data import ImagesConfig, ImageSplits, Statistics
from ..engine import Accelerator, Evaluate, StageRunner, digest, last_and_best
from ..evaluation import Evaluator
from ..models import measure
from ..transfer import Own, PipelineConfig, Teacher, TransferData
from .base import Pipeline
from .results import RunResult, Supervision, Transferred


class ClassificationPipeline(Pipeline):
    """Teachers and students that tell apart the classes of one set of images.

    Args:
        config: the run's settings; a subclass of `PipelineConfig` with `data`, an `ImagesConfig`.
        images: both splits.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
        own: networks and an optimization of one's own.
    """

    def __init__(
        self,
        config: PipelineConfig,
        images: ImageSplits,
        accelerator: Accelerator,
        folder: str | Path,
        **own: Unpack[Own],
    ) -> None:
        data: ImagesConfig = config.data  # type: ignore[attr-defined]
        stages = StageRunner(
            folder, accelerator, reuse=config.reuse, fingerprint=fingerprint_of(data, images)
        )
        height, width = images.train[0]["rgb"].shape[-2:]
        super().__init__(
            config,
            TransferData(
                images.train,
                images.augment,
                "rgb",
                statistics_of(stages, images),
                (height, width),
                labels=images.train.labels,
            ),
            stages,
            **own,
        )
        self.images = images
        self.class_names = images.class_names
        self.student_classes = self.teacher_classes = images.num_classes
        self.evaluator = Evaluator(
            images.test, images.num_classes, accelerator, num_workers=config.transfer.train.num_workers
        )

    def require_fitting(self, teachers: Sequence[Teacher]) -> None:
        """Raise `ValueError`, naming the teacher, for one without logits of the images' classes."""
        for teacher in teachers:
            logits = measure(teacher.network, self.data.shape(teacher.modality)).logits
            if logits != (self.images.num_classes,):
                found = "no logits" if logits is None else f"logits of {logits}"
                raise UserError(
                    f"teacher {teacher.name} gives {found}; the images have {self.images.num_classes} classes"
                )

    def reading(self) -> dict[str, Any]:
        """As the images' files are read."""
        return self.images.reading

    @property
    def held_out(self) -> Any:
        """The test split."""
        return self.images.test

    def supervise(self, modality: str) -> Supervision:
        """The labels of the training split."""
        return Supervision(self.images.train, self.images.augment, self.evaluator.top1())

    def transfer_evaluate(self, deploy: Callable[[nn.Module], nn.Module]) -> Evaluate | None:
        """Top-1 on the test split."""
        return self.evaluator.top1(lambda module: deploy(module.student))

    def result(
        self, method: str, seed: int, transferred: Transferred, teacher: nn.Module | None, **more: Any
    ) -> RunResult:
        """top1 of the last epoch, best_top1 of the best, of averaged weights ema_top1 and best_ema_top1, and
        what the evaluator finds beside a teacher; its matrices are details."""
        found = self.evaluator(transferred.network, teacher=teacher)
        scalars = {name: value for name, value in found.items() if isinstance(value, float)}
        judged = [name for name in ("top1", "ema_top1") if name in transferred.history[-1]]
        metrics = {**last_and_best(transferred.history, *judged), **scalars}
        details = {name: value for name, value in found.items() if not isinstance(value, float)}
        return RunResult(
            method, seed, metrics, transferred.history, transferred.network, details=details, **more
        )

    def teacher_metrics(self) -> list[dict[str, float]]:
        """top1 of every teacher on the test split."""
        return [{"top1": self.evaluator(teacher.network)["top1"]} for teacher in self.teachers]


def statistics_of(stages: StageRunner, images: ImageSplits) -> Statistics:
    """The configured statistics, else those of the training images: measured once and kept in the run
    folder."""
    if images.statistics is not None:
        return images.statistics
    return Statistics.from_dict(stages.keep("statistics", {}, lambda: images.measure_statistics().as_dict()))


def fingerprint_of(config: ImagesConfig, images: ImageSplits) -> dict[str, Any]:
    """The images as a stage knows them: their settings without the place, and a digest of what is there."""
    return {"data": asdict(replace(config, root=None)), "data_digest": digest(images.content())}
