"""Named configurations of the compression pipeline."""

from dataclasses import replace

from ..data import ImageAugmentConfig, ImagesConfig
from ..engine import TrainConfig
from ..transfer import TeachersConfig, TransferConfig
from .config import CompressionConfig

PAIRS = {
    "wrn40-2-wrn16-2": ("wrn_40_2", "wrn_16_2"),
    "wrn40-2-wrn40-1": ("wrn_40_2", "wrn_40_1"),
    "r56-r20": ("resnet56", "resnet20"),
    "r110-r20": ("resnet110", "resnet20"),
    "r110-r32": ("resnet110", "resnet32"),
    "r32x4-r8x4": ("resnet32x4", "resnet8x4"),
    "vgg13-vgg8": ("vgg13", "vgg8"),
    "vgg13-mobilenetv2": ("vgg13", "MobileNetV2"),
    "r50-mobilenetv2": ("ResNet50", "MobileNetV2"),
    "r50-vgg8": ("ResNet50", "vgg8"),
    "r32x4-shufflev1": ("resnet32x4", "ShuffleV1"),
    "r32x4-shufflev2": ("resnet32x4", "ShuffleV2"),
    "wrn40-2-shufflev1": ("wrn_40_2", "ShuffleV1"),
}
"""The 13 pairs of the published benchmark: teacher and student."""

_RECIPE = TrainConfig(evaluate_every=5)


def _pair(teacher: str, student: str) -> CompressionConfig:
    return CompressionConfig(
        precision="no",
        setting=("ft.paraphraser_lr=0.05",) if student.startswith("vgg") else (),
        data=ImagesConfig.cifar100(),
        teacher=TeachersConfig(architecture=(teacher,), train=_RECIPE),
        student=student,
        transfer=TransferConfig(train=_RECIPE),
    )


_IMAGENET = TrainConfig(
    epochs=100, batch_size=256, lr=0.1, weight_decay=1e-4, milestones=(30, 60, 90), num_workers=8
)

PRESETS = {
    # The embedded default: scikit-learn's digits, teacher included, in minutes on two CPU cores.
    "digits": CompressionConfig(
        data=ImagesConfig(source="digits", augment=replace(ImageAugmentConfig.cifar(), flip=0.0)),
        teacher=TeachersConfig(architecture=("resnet20",), train=TrainConfig.cosine(8)),
        student="resnet8",
        transfer=TransferConfig(train=TrainConfig.cosine(6)),
    ),
    **{name: _pair(*pair) for name, pair in PAIRS.items()},
    # 100 classes of Tiny-ImageNet at 32 x 32 with the recipe of CIFAR-100, for a GPU.
    "tiny32": CompressionConfig(
        precision="no",
        method=("none", "kd", "at", "sp", "crd", "crd+kd", "dkd", "dist"),
        seed=(0, 1, 2),
        data=ImagesConfig(source="packed"),
        transfer=TransferConfig(train=_RECIPE),
    ),
    # 20 classes of them, two small networks and a short schedule, for two CPU cores; CRD as published.
    "tiny32-small": CompressionConfig(
        setting=("crd.num_negatives=16384",),
        method=("none", "kd", "at", "fitnet", "sp", "rkd", "crd", "crd+kd", "fitnet+kd"),
        seed=(0, 1, 2),
        precision="bf16",
        data=ImagesConfig(source="packed", classes=20),
        teacher=TeachersConfig(architecture=("wrn_16_2",), train=TrainConfig.cosine(40)),
        student="resnet8",
        transfer=TransferConfig(train=TrainConfig.cosine(30)),
    ),
    # The published recipe of ImageNet, for all GPUs of a machine: `accelerate launch --multi_gpu`.
    "imagenet-r34-r18": CompressionConfig(
        precision="no",
        data=ImagesConfig(source="folder", size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        teacher=TeachersConfig(architecture=("resnet34",), weights=("imagenet",)),
        student="resnet18",
        transfer=TransferConfig(train=_IMAGENET),
    ),
}
