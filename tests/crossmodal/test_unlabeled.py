"""A transfer that has pairs without labels: beside labeled ones, and alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from crdkit.crossmodal import (
    DataConfig,
    Samples,
    SegmentationConfig,
    SegmentationPipeline,
    SegmentConfig,
    SegmentersConfig,
    load_samples,
)
from crdkit.data import read_rows
from crdkit.engine import TrainConfig, digest, make_accelerator
from crdkit.models import DepthCNN, create, save_weights
from crdkit.transfer import TransferConfig

BRIEF = TrainConfig(epochs=1, batch_size=8, lr=0.02)
TINY = SegmentationConfig(
    method=("none", "crd-dense"),
    data=DataConfig(size=(32, 32), train_samples=12, test_samples=6, unlabeled_samples=20),
    setting=("crd-dense.embed_dim=8", "crd-dense.queue_size=16"),
    teacher=SegmentersConfig(width=8, train=BRIEF),
    transfer=TransferConfig(train=BRIEF, cached_augmentations=1),
    segment=SegmentConfig(train=BRIEF),
)


def small() -> nn.Module:
    return DepthCNN(1, widths=(4, 8, 8), strides=(2, 2, 2))


def pipeline(folder: Path, config: SegmentationConfig, samples: Samples) -> SegmentationPipeline:
    return SegmentationPipeline(config, samples, make_accelerator(cpu=True), folder, student=small)


def test_unlabeled_pairs_are_transferred_from_beside_the_labeled(tmp_path: Path) -> None:
    samples = load_samples(TINY.data)
    assert samples.unlabeled is not None and len(samples.unlabeled) == 20
    pairs = samples.pairs("rgb", "depth")
    assert len(pairs) == 32 and set(pairs[31]) == {"index", "rgb", "depth"}
    assert torch.equal(pairs[12]["depth"], samples.unlabeled[0]["depth"])
    # Rooms of a part of its own: none of them is among the others.
    assert not any(torch.equal(pairs[12]["depth"], pairs[i]["depth"]) for i in range(12))
    made = pipeline(tmp_path, TINY, samples)
    assert len(made.data.dataset) == 32 and made.data.labels is None
    runs = list(made.runs())
    assert all(0 <= run.metrics["mean_iou"] <= 1 for run in runs)
    fewer = pipeline(tmp_path / "fewer", TINY, replace(samples, unlabeled=None))
    assert digest(fewer.transfer("crd-dense", 0).student.state_dict()) != digest(
        made.transfer("crd-dense", 0).student.state_dict()
    )
    # Labels of the unlabeled part would change nothing: they are not read.
    labeled = replace(samples, unlabeled=load_samples(TINY.data).train.subset(range(5)))
    assert set(read_rows(labeled.pairs("rgb", "depth"), [16])) == {"index", "rgb", "depth"}


@pytest.mark.parametrize("part", ["train", "unlabeled"])
def test_without_any_label_the_run_ends_after_the_transfer(tmp_path: Path, part: str) -> None:
    samples = load_samples(replace(TINY.data, unlabeled_samples=0))
    bare = samples.train.select("rgb", "depth")
    parts = {"train": None, "unlabeled": None, part: bare}
    none = Samples(parts["train"], samples.test.select("rgb", "depth"), 8, (), parts["unlabeled"])
    assert not none.is_labeled
    with pytest.raises(ValueError, match="weights"):
        list(pipeline(tmp_path / "refused", TINY, none).runs())
    save_weights(create("resnet18", num_classes=5), tmp_path / "teacher.safetensors")
    teacher = SegmentersConfig(labels=False, classes=5, weights=(str(tmp_path / "teacher.safetensors"),))
    runs = list(pipeline(tmp_path / "run", replace(TINY, teacher=teacher), none).runs())
    assert [run.method for run in runs] == ["none", "crd-dense"]
    assert (tmp_path / "run/runs/crd-dense/seed-0/student.safetensors").exists()
    assert not (tmp_path / "run/runs/crd-dense/seed-0/segment").exists()


def test_labels_in_the_transfer_need_them_on_all_pairs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labeled-transfer"):
        pipeline(tmp_path, replace(TINY, labeled_transfer=True), load_samples(TINY.data))
