"""Named configurations of the cross-modal pipeline."""

from dataclasses import replace

from ..data import ImageAugmentConfig, ImagesConfig
from ..engine import TrainConfig
from ..transfer import TeachersConfig, TransferConfig
from .config import (
    CrossModalConfig,
    DataConfig,
    ProbeConfig,
    RecognitionConfig,
    SegmentationConfig,
    SegmentConfig,
    SegmentersConfig,
)


def _sgd(epochs: int, lr: float, *, evaluate_every: int = 1) -> TrainConfig:
    train = TrainConfig.cosine(epochs, batch_size=16, warmup_epochs=min(2.0, epochs / 4))
    return replace(train, lr=lr, weight_decay=1e-4, clip_norm=5.0, evaluate_every=evaluate_every)


_PLAIN_KL = ("temperature=1", "weight=1")
# Without labels there is no cross-entropy to weigh against: each term has its own scale alone, and KD is the
# plain KL. Few pairs: the batch is the memory. Students of other depth than the teacher: maps pair by
# resolution.
_UNLABELED = (
    *(f"{kd}.{setting}" for kd in ("kd", "kd-mean", "kd-logits", "kd-weighted") for setting in _PLAIN_KL),
    "at.pairing=resolution",
    "fitnet.hint=-1",
    "fitnet.hypercolumn=true",
    "crd.temperature=0.1",
    "crd.negatives=batch",
    "crd.weight=1",
)
# In so few steps NCE stays with the constant critic (docs/contrast.md).
_INFONCE = tuple(f"{name}.objective=infonce" for name in ("crd", "crd-local", "crd-dense"))

# Crops and a flip: both modalities of an image move alike, and its colors are what one of them is.
_COLORLESS = ImageAugmentConfig(crop_scale=(0.4, 1.0), jitter=0.0, grayscale=0.0)


PRESETS: dict[str, CrossModalConfig] = {
    # The embedded default: rendered rooms, three minutes on two CPU cores. 1,200 pairs, half of them with
    # labels for the color images, 40 with labels for the depth images.
    "synthetic": SegmentationConfig(
        method=("none", "kd", "fitnet", "crd-dense", "crd-dense+fitnet"),
        data=DataConfig(source="synthetic", size=(48, 64), train_samples=600, unlabeled_samples=600),
        setting=(*_UNLABELED, "crd.objective=infonce"),
        teacher=SegmentersConfig(train=_sgd(10, 0.05, evaluate_every=5)),
        transfer=TransferConfig(
            train=_sgd(8, 0.05, evaluate_every=4), cached_augmentations=2, cache_dtype="float16"
        ),
        segment=SegmentConfig(train=_sgd(3, 0.15), label_fraction=1 / 15),
    ),
    # Your own pairs, without labels: a teacher that knows images, any second sensor.
    "pairs": SegmentationConfig(
        method=("none", "fitnet", "crd-dense"),
        data=DataConfig(source="folder"),
        setting=(*_UNLABELED, "crd.objective=infonce"),
        teacher=SegmentersConfig(architecture=("resnet18",), weights=("imagenet",), labels=False),
        transfer=TransferConfig(
            train=_sgd(40, 0.05, evaluate_every=10), cached_augmentations=4, cache_dtype="float16"
        ),
        segment=SegmentConfig(train=_sgd(20, 0.05, evaluate_every=5)),
    ),
    # The paper's scenario: an ImageNet ResNet-50 that never saw the labels, 795 pairs, local-global contrast.
    "nyu": SegmentationConfig(
        precision="no",
        seed=(0, 1, 2),
        data=DataConfig(source="nyu", size=(240, 320), classes=40),
        setting=_UNLABELED,
        teacher=SegmentersConfig(architecture=("resnet50",), weights=("imagenet",), labels=False),
        student="depth_cnn_x2",
        transfer=TransferConfig(train=_sgd(240, 0.05, evaluate_every=40)),
        segment=SegmentConfig(train=_sgd(120, 0.05, evaluate_every=10)),
    ),
    # The same questions for two CPU cores: a ResNet-18 that learned from the RGB labels, 96 x 128 pixels.
    "nyu-small": SegmentationConfig(
        seed=(0, 1, 2),
        precision="bf16",
        data=DataConfig(source="nyu", size=(96, 128), classes=13),
        setting=_UNLABELED,
        teacher=SegmentersConfig(train=_sgd(30, 0.05, evaluate_every=10)),
        transfer=TransferConfig(
            train=_sgd(40, 0.15, evaluate_every=10), cached_augmentations=4, cache_dtype="float16"
        ),
        segment=SegmentConfig(train=_sgd(12, 0.15, evaluate_every=3)),
    ),
    # L→ab on drawn shapes: nothing to download, minutes on two CPU cores.
    "lab": RecognitionConfig(
        method=("none", "kd", "fitnet", "crd", "crd+kd", "cosine+kd"),
        data=ImagesConfig(source="shapes", augment=ImageAugmentConfig.cifar()),
        setting=(*_UNLABELED, *_INFONCE),
        teacher=TeachersConfig(modality=("l",), architecture=("resnet14",), train=TrainConfig.cosine(40)),
        student="resnet8",
        transfer=TransferConfig(train=TrainConfig.cosine(12), cached_augmentations=4, cache_dtype="float16"),
        # In ten steps an epoch one student of 21 diverged without: 39 % for 64 %.
        finetune=replace(TrainConfig.cosine(10), clip_norm=5.0),
        probe=ProbeConfig(dimension=512),
    ),
    # The paper's scenario: L to ab on STL-10, transfer on its 100,000 images without labels.
    "stl10": RecognitionConfig(
        precision="no",
        seed=(0, 1, 2),
        data=ImagesConfig(source="stl10", augment=_COLORLESS),
        setting=(*_UNLABELED, "crd.negatives=shared", "crd.num_negatives=16384"),
        teacher=TeachersConfig(
            modality=("l",), architecture=("resnet18",), train=TrainConfig.cosine(200, evaluations=10)
        ),
        student="resnet18",
        transfer=TransferConfig(train=TrainConfig.cosine(100, batch_size=256)),
        finetune=TrainConfig.cosine(100, evaluations=10),
        probe=ProbeConfig(fit="sgd", dimension=4096),
    ),
    # The same for two CPU cores, on ten classes of ImageNet in a packed file.
    "stl10-small": RecognitionConfig(
        method=("none", "kd", "at", "fitnet", "crd", "crd+kd", "cosine+kd"),
        seed=(0, 1, 2),
        precision="bf16",
        data=ImagesConfig(source="packed", size=32, augment=_COLORLESS),
        setting=(*_UNLABELED, *_INFONCE),
        teacher=TeachersConfig(
            modality=("l",), architecture=("alexnet_small",), train=TrainConfig.cosine(40)
        ),
        transfer=TransferConfig(train=TrainConfig.cosine(20), cached_augmentations=4, cache_dtype="float16"),
        finetune=TrainConfig.cosine(10),
    ),
}
