"""Compression: a teacher into a small student, by every method and seed."""

from functools import cached_property

from torch import nn

from ..data import ImagesConfig, ImageSplits, load_splits
from ..evaluation import extract, probe_logistic
from ..pipelines import ClassificationPipeline, RunResult, Transferred
from .config import CompressionConfig


class CompressionPipeline(ClassificationPipeline):
    """All stages of a configuration over one set of images; arguments as of `ClassificationPipeline`."""

    config: CompressionConfig

    def judge(self, method: str, seed: int, transferred: Transferred) -> RunResult:
        """The student beside its first teacher, and linear probes of it on other images."""
        alone = all(method == "none" for method in self.config.method)
        done = self.result(method, seed, transferred, None if alone else self.teachers[0].network)
        done.metrics.update(self.probe(transferred.network))
        return done

    def probe(self, network: nn.Module) -> dict[str, float]:
        """Top-1 of a linear probe on each other set of images, by `probe_` and the file's name."""
        found = {}
        for name, images in self._others.items():
            with self.accelerator.autocast():
                train, test = (
                    extract(network, split, modality="rgb", device=self.accelerator.device)
                    for split in (images.train, images.test)
                )
            found[f"probe_{name}"] = probe_logistic(train, test).top1
        return found

    def teacher_metrics(self) -> list[dict[str, float]]:
        """top1 of every teacher, and what the probes say of it."""
        teachers = zip(super().teacher_metrics(), self.teachers, strict=True)
        return [{**found, **self.probe(teacher.network)} for found, teacher in teachers]

    @cached_property
    def _others(self) -> dict[str, ImageSplits]:
        side = self.images.train[0]["rgb"].shape[-1]
        sources = {p.stem: ImagesConfig(source="packed", root=p, size=side) for p in self.config.probe}
        device = self.accelerator.device
        return {name: load_splits(source, device, augment=False) for name, source in sources.items()}
