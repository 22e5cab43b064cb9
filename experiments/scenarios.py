"""How each kind of run is made: its data, its pipeline, and what its report shows beside the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reports import classification, ensemble, recognition, segmentation
from .scenario import Prepared, Scenario

if TYPE_CHECKING:
    from crdkit.compression import CompressionConfig
    from crdkit.crossmodal import RecognitionConfig, SegmentationConfig
    from crdkit.data import ImageSplits
    from crdkit.engine import Accelerator
    from crdkit.ensemble import EnsembleConfig
    from crdkit.pipelines import RunResult


def _compression(config: CompressionConfig, accelerator: Accelerator, folder: Path) -> Prepared:
    from crdkit.compression import CompressionPipeline
    from crdkit.data import evenly_spaced, load_splits, subset
    from crdkit.evaluation import extract
    from crdkit.reports import on_device

    images = load_splits(config.data, accelerator.device)

    def shown(runs: Sequence[RunResult]) -> dict[str, Any]:
        test, features = images.test, {}
        if len(test) > classification.SHOWN and not config.tsne:
            test = subset(test, evenly_spaced(len(test), classification.SHOWN))
        for done in runs:
            if done.seed == config.seed[0]:
                with on_device(done.network, accelerator.device) as network:
                    features[done.method] = extract(
                        network,
                        test,
                        modality="rgb",
                        device=accelerator.device,
                        num_workers=config.transfer.train.num_workers,
                    )
        return {**_of_images(images), "features": features}

    return Prepared(CompressionPipeline(config, images, accelerator, folder), shown)


def _ensemble(config: EnsembleConfig, accelerator: Accelerator, folder: Path) -> Prepared:
    from rich.console import Console

    from crdkit.data import load_splits
    from crdkit.ensemble import EnsemblePipeline, mean_logits
    from crdkit.reports import write_sealed

    images = load_splits(config.data, accelerator.device)
    pipeline = EnsemblePipeline(config, images, accelerator, folder)

    def begin() -> None:
        """Print what the memories take, then train or read the pool, evaluate it and write pool.json."""
        pipeline.check()
        if memory := pipeline.memory():
            accelerator.print(memory)
        pool = pipeline.describe()
        if accelerator.is_main_process:
            write_sealed(folder / "pool.json", pool)
            Console().print(ensemble.pool_table(pool).terminal("the pool"))
            if not config.teachers:
                print(f"the pool alone: {folder / 'pool.json'}")

    def shown(runs: Sequence[RunResult]) -> dict[str, Any]:
        """`teacher_metrics`: the pool as `describe` gives it, and by size the error of each ensemble."""
        label, errors = images.test.labels.cpu(), dict[str, list[float]]()
        subsets = dict.fromkeys(tuple(sorted(done.teachers)) for done in runs if done.teachers)
        for teachers in sorted(subsets, key=len):
            predicted = mean_logits(pipeline.logits[list(teachers)]).argmax(1)
            errors.setdefault(str(len(teachers)), []).append(float((predicted != label).double().mean()))
        return {**_of_images(images), "teacher_metrics": {**pipeline.describe(), "ensembles": errors}}

    return Prepared(pipeline, shown, begin)


def _recognition(config: RecognitionConfig, accelerator: Accelerator, folder: Path) -> Prepared:
    from crdkit.crossmodal import RecognitionPipeline
    from crdkit.data import load_splits

    images = load_splits(config.data, accelerator.device, unlabeled=True)
    pipeline = RecognitionPipeline(config, images, accelerator, folder)

    def shown(runs: Sequence[RunResult]) -> dict[str, Any]:
        features = {
            m: vectors for (m, seed), vectors in pipeline.embeddings.items() if seed == config.seed[0]
        }
        sample = {name: value[None] for name, value in pipeline.test[0].items() if name != "label"}
        return {**_of_images(images), "sample": sample, "features": features}

    return Prepared(pipeline, shown)


def _segmentation(config: SegmentationConfig, accelerator: Accelerator, folder: Path) -> Prepared:
    from crdkit.crossmodal import SegmentationPipeline, load_samples
    from crdkit.data import read_rows

    modalities = tuple(dict.fromkeys((*config.teacher.modality, config.student_modality)))
    workers = config.transfer.train.num_workers
    samples = load_samples(config.data, modalities, accelerator=accelerator, num_workers=workers)
    pipeline = SegmentationPipeline(config, samples, accelerator, folder)

    def shown(runs: Sequence[RunResult]) -> dict[str, Any]:
        return {
            "sample": read_rows(pipeline.pairs, [0]),
            "pairs": pipeline.pairs,
            "test": samples.test if samples.is_labeled else None,
            "class_names": samples.class_names,
        }

    return Prepared(pipeline, shown)


def _of_images(images: ImageSplits) -> dict[str, Any]:
    """The test split of one set of images, with names for classes without a name."""
    return {
        "sample": {"rgb": images.test[0]["rgb"][None]},
        "test": images.test,
        "class_names": images.test.class_names or tuple(map(str, range(images.num_classes))),
    }


COMPRESSION = Scenario(classification.REPORT, _compression)
ENSEMBLE = Scenario(ensemble.REPORT, _ensemble)
RECOGNITION = Scenario(recognition.REPORT, _recognition)
SEGMENTATION = Scenario(segmentation.REPORT, _segmentation)
