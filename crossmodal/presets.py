"""Named configurations of the cross-modal pipeline."""

from __future__ import annotations

from ..engine.config import TrainConfig
from .config import (
    DataConfig,
    SegmentationConfig,
    SegmentConfig,
    StudentConfig,
    TeacherConfig,
    TransferConfig,
)


def _sgd(epochs: int, rate: float, *, evaluate_every: int = 1) -> TrainConfig:
    return TrainConfig(
        epochs=epochs,
        batch_size=16,
        learning_rate=rate,
        weight_decay=1e-4,
        nesterov=True,
        schedule="cosine",
        warmup_epochs=min(2.0, epochs / 4),
        clip_norm=5.0,
        evaluate_every=evaluate_every,
    )


PRESETS = {
    # The embedded default: rendered rooms, all methods in a few minutes on two CPU cores.
    "synthetic": SegmentationConfig(
        data=DataConfig(source="synthetic", size=(48, 64)),
        teacher=TeacherConfig(train=_sgd(12, 0.05, evaluate_every=6)),
        transfer=TransferConfig(train=_sgd(10, 0.05), views=2),
        segment=SegmentConfig(train=_sgd(6, 0.15, evaluate_every=2)),
    ),
    # The paper's scenario: an ImageNet ResNet-50 that never saw the labels, 795 pairs, local-global contrast.
    "nyu": SegmentationConfig(
        seed=(0, 1, 2),
        data=DataConfig(source="nyu", size=(240, 320), classes=40),
        teacher=TeacherConfig(architecture="resnet50", weights="imagenet", labels=False),
        student=StudentConfig(widths=(64, 128, 256, 512, 512)),
        transfer=TransferConfig(train=_sgd(240, 0.05)),
        segment=SegmentConfig(train=_sgd(120, 0.05, evaluate_every=10)),
    ),
    # The same questions for two CPU cores: a ResNet-18 that learned from the RGB labels, 96 x 128 pixels.
    "nyu-small": SegmentationConfig(
        seed=(0, 1, 2),
        precision="bf16",
        data=DataConfig(source="nyu", size=(96, 128), classes=13),
        teacher=TeacherConfig(train=_sgd(30, 0.05, evaluate_every=10)),
        transfer=TransferConfig(train=_sgd(40, 0.15), views=4),
        segment=SegmentConfig(train=_sgd(12, 0.15, evaluate_every=3)),
    ),
}
