"""What compression and ensembles share: classifiers of labeled images as teachers and student."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from ..data import ImagesConfig, ImageSplits, Statistics
from ..engine import Accelerator, Evaluate, StageRunner, digest, last_and_best
from ..evaluation import Evaluator
from ..transfer import Builder, Overrides, PipelineConfig, TransferData
from .base import Pipeline
from .results import DataSplits, RunResult, Supervision, Transferred
from .runs import StudentRun


class ClassificationPipeline(Pipeline):
    """Teachers and students that classify one set of images.

    Args:
        config: settings of the run; a subclass of `PipelineConfig` with `data`, an `ImagesConfig`.
        images: both splits.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
        overrides: networks, an optimizer and a schedule that replace the configured ones.
    """

    def __init__(
        self,
        config: PipelineConfig,
        images: ImageSplits,
        accelerator: Accelerator,
        folder: str | Path,
        **overrides: Unpack[Overrides],
    ) -> None:
        source: ImagesConfig = config.data  # type: ignore[attr-defined]
        fingerprint = fingerprint_of(source, images)
        stages = StageRunner(folder, accelerator, reuse=config.reuse, fingerprint=fingerprint)
        num_workers = config.transfer.train.num_workers
        height, width = images.train[0]["rgb"].shape[-2:]
        data = TransferData(
            images.train,
            images.augment,
            "rgb",
            statistics_of(stages, images, num_workers=num_workers),
            (height, width),
            labels=images.train.labels,
        )
        classes = images.num_classes
        builder = Builder(config, data, overrides, student_classes=classes, teacher_classes=classes)
        super().__init__(builder, stages)
        self.images, self.class_names = images, images.class_names
        self.evaluator = Evaluator(images.test, classes, accelerator, num_workers=num_workers)

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
        self, run: StudentRun, transferred: Transferred, teacher: nn.Module | None, **fields: Any
    ) -> RunResult:
        """Return the metrics of a student, alone and compared with a teacher; matrices are details.

        Metrics are top1 of the last epoch, best_top1 of the best, ema_top1 and best_ema_top1 of averaged
        weights, and those of `Evaluator`.
        """
        metrics = self.evaluator(transferred.network, teacher=teacher)
        history = transferred.history
        names = [name for name in ("top1", "ema_top1") if name in history[-1]]
        scalars = {name: value for name, value in metrics.items() if isinstance(value, float)}
        details = {name: value for name, value in metrics.items() if not isinstance(value, float)}
        return RunResult(
            run.method,
            run.seed,
            {**last_and_best(history, *names), **scalars},
            history,
            transferred.network,
            details=details,
            **fields,
        )

    def data_splits(self) -> DataSplits:
        """Return the splits of the images."""
        splits = {"train": self.images.plain, "test": self.images.test}
        return DataSplits(splits, self.images.num_classes, self.class_names, pixel_labels=False)

    def teacher_metrics(self) -> list[dict[str, float]]:
        """top1 of every teacher on the test split."""
        return [{"top1": self.evaluator(teacher.network)["top1"]} for teacher in self.teachers]


def statistics_of(stages: StageRunner, images: ImageSplits, *, num_workers: int = 0) -> Statistics:
    """Return the configured statistics, else those of the training images, measured once for a run folder."""
    if images.statistics is not None:
        return images.statistics

    def measure() -> dict[str, Any]:
        return images.measure_statistics(num_workers=num_workers).as_dict()

    return Statistics.from_dict(stages.keep("statistics", {}, measure))


def fingerprint_of(config: ImagesConfig, images: ImageSplits) -> dict[str, Any]:
    """The images as a stage knows them: their settings without the place, and a digest of what is there."""
    return {"data": asdict(replace(config, root=None)), "data_digest": digest(images.content())}
