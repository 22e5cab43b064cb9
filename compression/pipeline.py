"""Compression: a teacher into a small student, by every method and seed."""

from functools import cached_property

from torch import nn

from ..data import ImagesConfig, ImageSplits, load_splits
from ..evaluation import extract, probe_logistic
from ..pipelines import ClassificationPipeline, Outputs, RunResult, StudentRun, Transferred
from .config import CompressionConfig


class CompressionPipeline(ClassificationPipeline):
    """All stages of a configuration over one set of images; arguments as of `ClassificationPipeline`."""

    config: CompressionConfig

    def evaluate(self, run: StudentRun, transferred: Transferred, outputs: Outputs) -> RunResult:
        """Return the metrics of a student beside its first teacher, and of linear probes on other images."""
        untaught = all(method == "none" for method in self.config.method)
        result = self.result(run, transferred, None if untaught else self.teachers[0].network)
        result.metrics.update(self.probe(transferred.network))
        return result

    def probe(self, network: nn.Module) -> dict[str, float]:
        """Return top-1 of a linear probe on each other set of images, by `probe_` and the file's name."""
        metrics, device = {}, self.accelerator.device
        num_workers = self.config.transfer.train.num_workers
        for name, images in self._others.items():
            with self.accelerator.autocast():
                train, test = (
                    extract(network, split, modality="rgb", device=device, num_workers=num_workers)
                    for split in (images.train, images.test)
                )
            metrics[f"probe_{name}"] = probe_logistic(train, test).top1
        return metrics

    def teacher_metrics(self) -> list[dict[str, float]]:
        """top1 of every teacher, and its probes."""
        pairs = zip(super().teacher_metrics(), self.teachers, strict=True)
        return [{**metrics, **self.probe(teacher.network)} for metrics, teacher in pairs]

    @cached_property
    def _others(self) -> dict[str, ImageSplits]:
        side = self.images.train[0]["rgb"].shape[-1]
        sources = {p.stem: ImagesConfig(source="packed", root=p, size=side) for p in self.config.probe}
        device = self.accelerator.device
        return {name: load_splits(source, device, augment=False) for name, source in sources.items()}
