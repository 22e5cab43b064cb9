"""Named configurations of the cross-modal pipeline."""

from __future__ import annotations

from ..data import ImageAugmentConfig, ImagesConfig
from ..engine import TrainConfig
from .config import (
    CrossModalConfig,
    DataConfig,
    ProbeConfig,
    RecognitionConfig,
    RecognitionTeacherConfig,
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
        lr=rate,
        weight_decay=1e-4,
        nesterov=True,
        schedule="cosine",
        warmup_epochs=min(2.0, epochs / 4),
        clip_norm=5.0,
        evaluate_every=evaluate_every,
    )


# Crops and a flip: both views of an image move alike, and its colors are what one of them is.
_COLORLESS = ImageAugmentConfig(crop_scale=(0.4, 1.0), jitter=0.0, grayscale=0.0)


PRESETS: dict[str, CrossModalConfig] = {
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
    # L→ab on drawn shapes: nothing to download, minutes on two CPU cores.
    "lab": RecognitionConfig(
        data=ImagesConfig(source="shapes", augment=ImageAugmentConfig.cifar()),
        teacher=RecognitionTeacherConfig(architecture="resnet14", train=TrainConfig.cosine(40)),
        student="resnet8",
        # In so few steps NCE stays with the constant critic (docs/contrast.md).
        transfer=TransferConfig(train=TrainConfig.cosine(12), views=4, objective="infonce"),
        finetune=TrainConfig.cosine(10),
        probe=ProbeConfig(dimension=512),
    ),
    # The paper's scenario: L to ab on STL-10, transfer on its 100,000 images without labels.
    "stl10": RecognitionConfig(
        seed=(0, 1, 2),
        data=ImagesConfig(source="stl10", augment=_COLORLESS),
        teacher=RecognitionTeacherConfig(
            architecture="resnet18", train=TrainConfig.cosine(200, evaluations=10)
        ),
        student="resnet18",
        transfer=TransferConfig(
            train=TrainConfig.cosine(100, batch_size=256), negatives="shared", num_negatives=16384
        ),
        finetune=TrainConfig.cosine(100, evaluations=10),
        probe=ProbeConfig(fit="sgd", dimension=4096),
    ),
    # The same for two CPU cores, on ten classes of ImageNet in a packed file.
    "stl10-small": RecognitionConfig(
        seed=(0, 1, 2),
        precision="bf16",
        data=ImagesConfig(source="packed", size=32, augment=_COLORLESS),
        teacher=RecognitionTeacherConfig(train=TrainConfig.cosine(40)),
        transfer=TransferConfig(train=TrainConfig.cosine(20), views=4, objective="infonce"),
        finetune=TrainConfig.cosine(10),
    ),
}
