"""All pipelines on tiny sizes: `torchrun --nproc_per_node N two_ranks.py FOLDER` leaves figures and
digests, and a file of each rank that left its process group before the interpreter ended."""

import atexit
import json
import os
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from crdkit.compression import CompressionConfig, CompressionPipeline
from crdkit.crossmodal import (
    DataConfig,
    ProbeConfig,
    RecognitionConfig,
    RecognitionPipeline,
    Samples,
    SegmentationConfig,
    SegmentationPipeline,
    SegmentConfig,
    SegmentersConfig,
)
from crdkit.data import IGNORE, AugmentConfig, ImageAugmentConfig, ImagesConfig, PairedTensors, load_splits
from crdkit.engine import Accelerator, TrainConfig, digest, end_training, make_accelerator
from crdkit.ensemble import EnsembleConfig, EnsemblePipeline
from crdkit.models import DepthCNN, Outputs
from crdkit.pipelines import Pipeline
from crdkit.transfer import Cache, Teacher, TransferConfig

# No augmentation, shared batch-norm statistics, all rows as negatives: nothing depends on how a batch is cut,
# and 15 samples make a last batch of 7.
TRAIN = TrainConfig(epochs=1, batch_size=8, lr=0.01, sync_batchnorm=True)
TRANSFER = TransferConfig(train=TRAIN)
PLAIN = ImageAugmentConfig(crop="padded", padding=0, flip=0.0, jitter=0.0, grayscale=0.0)
IMAGES = ImagesConfig("digits", classes=3, augment=PLAIN)


class Plain(nn.Module):
    """Three convolutions with batch norm, and a classifier of the last map's average if asked for."""

    def __init__(self, channels: int, width: int, classes: int | None) -> None:
        super().__init__()
        sizes = (channels, width, 2 * width, 2 * width)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in sizes[1:])
        self.head = None if classes is None else nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Outputs:
        before, maps = [], []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            before.append(norm(layer(x)))
            maps.append(x := before[-1].relu())
        embedding = x.mean((2, 3))
        logits = None if self.head is None else self.head(embedding)
        return Outputs(logits, tuple(maps), embedding, tuple(before))


def teachers(count: int, channels: int, modality: str, *, width: int = 8) -> list[Teacher]:
    torch.manual_seed(7)
    return [Teacher(Plain(channels, width, 3), modality=modality) for _ in range(count)]


def pipelines(folder: Path, accelerator: Accelerator) -> dict[str, Pipeline]:
    splits = load_splits(IMAGES, accelerator.device)
    splits = replace(splits, train=splits.train.subset(range(15)), test=splits.test.subset(range(13)))
    common: dict[str, Any] = {"cpu": True, "setting": ("crd.negatives=all", "ft.epochs=1")}
    compression = CompressionConfig(**common, method=("crd+kd", "at", "ft"), data=IMAGES, transfer=TRANSFER)
    cached = replace(TRANSFER, cached_augmentations=2, cache_on="disk")
    ensemble = EnsembleConfig(
        **common, method=("kd-mean", "crd"), data=IMAGES, teachers=(2,), transfer=cached
    )
    generator = torch.Generator().manual_seed(0)
    pairs = PairedTensors(
        rgb=torch.randint(0, 256, (15, 3, 32, 32), dtype=torch.uint8, generator=generator),
        depth=torch.rand(15, 1, 32, 32, generator=generator) + 1,
        label=torch.randint(0, 4, (15, 32, 32), dtype=torch.uint8, generator=generator),
    )
    pairs.tensors["label"][:5, 8:] = IGNORE  # ranks have labeled unequal numbers of pixels
    samples = Samples(pairs, pairs.subset(range(5)), 4, tuple("abcd"))
    segmentation = SegmentationConfig(
        cpu=True,
        method=("crd-dense",),
        transfer=TRANSFER,
        data=DataConfig(size=(32, 32), augment=AugmentConfig.none()),
        teacher=SegmentersConfig(architecture=("depth_cnn",), width=8, train=TRAIN),
        segment=SegmentConfig(train=TRAIN),
    )
    recognition = RecognitionConfig(
        **common,
        method=("crd",),
        student_modality="l",
        data=IMAGES,
        transfer=TRANSFER,
        finetune=TRAIN,
        probe=ProbeConfig(dimension=16, neighbors=3),
    )
    seen = replace(splits, unlabeled=splits.train.select("rgb"))
    return {
        "compression": CompressionPipeline(
            compression,
            splits,
            accelerator,
            folder / "compression",
            student=lambda: Plain(3, 4, 3),
            teachers=teachers(1, 3, "rgb"),
        ),
        "ensemble": EnsemblePipeline(
            ensemble,
            splits,
            accelerator,
            folder / "ensemble",
            student=lambda: Plain(3, 4, 3),
            teachers=teachers(2, 3, "rgb"),
        ),
        "segmentation": SegmentationPipeline(
            segmentation,
            samples,
            accelerator,
            folder / "segmentation",
            student=lambda: DepthCNN(1, widths=(4, 8, 8), strides=(2, 2, 2)),
        ),
        "recognition": RecognitionPipeline(
            recognition,
            seen,
            accelerator,
            folder / "recognition",
            student=lambda: Plain(1, 4, None),
            teachers=teachers(1, 1, "l"),
        ),
    }


def come_late(rank: int) -> None:
    """Let the second rank look for a cache when the first has had time to write it."""
    look = Cache._stored

    def late(self: Cache, *given: Any) -> Any:
        time.sleep(0.3 * rank)
        return look(self, *given)

    Cache._stored = late  # type: ignore[method-assign]


def main(folder: Path) -> None:
    accelerator = make_accelerator(cpu=True)
    come_late(accelerator.process_index)
    found: dict[str, Any] = {"ranks": accelerator.num_processes}
    for name, pipeline in pipelines(folder, accelerator).items():
        for done in pipeline.runs():
            state = digest(done.network.state_dict())
            states: list[Any] = [state]
            if accelerator.num_processes > 1:
                states = [None] * accelerator.num_processes
                dist.all_gather_object(states, (state, done.metrics))
                states = [repr(one) for one in states]
            metrics = {k: v for k, v in done.metrics.items() if isinstance(v, float)}
            found[f"{name}/{done.method}"] = {"same": len(set(states)) == 1, "metrics": metrics}
    if accelerator.is_main_process:
        (folder / "found.json").write_text(json.dumps(found))
    end_training(accelerator)


def note_group(folder: Path) -> None:
    if not dist.is_initialized():
        (folder / f"left-{os.environ['RANK']}").touch()


if __name__ == "__main__":
    torch.manual_seed(0)
    atexit.register(note_group, Path(sys.argv[1]))  # called after all that is registered later
    main(Path(sys.argv[1]))
