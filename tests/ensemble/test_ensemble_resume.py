"""Methods of several teachers, interrupted within an epoch: the end is that of an undisturbed run."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crdkit.data import ImagesConfig, ImageSplits, load_splits
from crdkit.engine import Interrupted, TrainConfig, digest, make_accelerator
from crdkit.ensemble import EnsembleConfig, EnsemblePipeline
from crdkit.transfer import TeachersConfig, TransferConfig, TransferTask

TRAIN = TrainConfig(epochs=2, batch_size=32, lr=0.02, schedule="cosine")
TINY = EnsembleConfig(
    cpu=True,
    data=ImagesConfig("digits", classes=3),
    teacher=TeachersConfig(number=2, architecture=("resnet8", "wrn_16_1"), train=TRAIN),
    student="resnet8",
    teachers=(2,),
    setting=("crd.num_negatives=32",),
    transfer=TransferConfig(train=TRAIN),
)


@pytest.fixture(scope="module")
def images() -> ImageSplits:
    images = load_splits(TINY.data, torch.device("cpu"))
    return replace(images, train=images.train.subset(range(100)), test=images.test.subset(range(20)))


def run(images: ImageSplits, folder: Path, config: EnsembleConfig) -> dict[str, Any]:
    (done,) = EnsemblePipeline(config, images, make_accelerator(cpu=True), folder).runs()
    rows = [{k: v for k, v in row.items() if "second" not in k} for row in done.history]
    return {"weights": digest(done.network.state_dict()), "history": rows}


@pytest.fixture(scope="module")
def pool(images: ImageSplits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    assert len(EnsemblePipeline(TINY, images, make_accelerator(cpu=True), folder).teachers) == 2
    return folder


@pytest.mark.parametrize("cached", [0, 2])
@pytest.mark.parametrize(
    ("method", "drop"),
    [("kd-mean", 0.5), ("fitnet+crd", 0.5), ("angle", 0.5), ("ca-mkd", 0.0), ("aekd+aekd-hint", 0.0)],
)
def test_interrupted_anywhere_the_end_is_the_same(
    method: str,
    drop: float,
    cached: int,
    images: ImageSplits,
    pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transfer = replace(TINY.transfer, drop_teachers=drop, cached_augmentations=cached)
    config = replace(TINY, method=(method,), transfer=transfer, reuse=(pool,))
    calm = run(images, tmp_path / "calm", config)
    update, count = TransferTask.update, 0

    def interrupted(self: TransferTask, batch: Any, extra: Any) -> None:
        nonlocal count
        count += 1
        update(self, batch, extra)
        if count == 3:  # of four batches an epoch
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TransferTask, "update", interrupted)
    with pytest.raises(Interrupted):
        run(images, tmp_path / "hit", config)
    assert run(images, tmp_path / "hit", config) == calm
    assert 8 <= count <= 10, "no step but the dry ones is taken twice"
