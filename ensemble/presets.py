"""Named configurations of the ensemble pipeline."""

from dataclasses import replace

from ..data import ImageAugmentConfig, ImagesConfig
from ..engine import TrainConfig
from ..transfer import TeachersConfig, TransferConfig
from .config import EnsembleConfig

_RECIPE = TrainConfig(evaluate_every=5)


def _cifar100(member: str, student: str) -> EnsembleConfig:
    return EnsembleConfig(
        precision="no",
        seed=(0, 1, 2),
        data=ImagesConfig.cifar100(),
        teacher=TeachersConfig(architecture=(member,), number=8, train=_RECIPE),
        student=student,
        transfer=TransferConfig(train=_RECIPE),
    )


PRESETS = {
    # The embedded default: scikit-learn's digits, pool included, in minutes on two CPU cores.
    "digits": EnsembleConfig(
        teachers=(1, 2, 4),
        data=ImagesConfig(source="digits", augment=replace(ImageAugmentConfig.cifar(), flip=0.0)),
        teacher=TeachersConfig(number=4, architecture=("resnet14",), train=TrainConfig.cosine(6)),
        student="resnet8",
        # In so few steps NCE stays with the constant critic (docs/contrast.md).
        setting=("crd.objective=infonce",),
        transfer=TransferConfig(train=TrainConfig.cosine(10), cached_augmentations=4),
    ),
    # The two figures of the paper, with its recipe.
    "cifar100-wrn": _cifar100("wrn_40_2", "wrn_16_2"),
    "cifar100-resnet": _cifar100("resnet110", "resnet20"),
    # 20 classes at 32 x 32, small networks and a short schedule, for two CPU cores.
    "tiny32-small": EnsembleConfig(
        # One draw for the batch and 2,048 negatives a teacher: eight critics cost little more than one.
        setting=("crd.negatives=shared_other_class", "crd.num_negatives=2048"),
        seed=(0, 1, 2),
        teachers=(1, 2, 4, 8),
        precision="bf16",
        data=ImagesConfig(source="packed", classes=20),
        teacher=TeachersConfig(architecture=("wrn_16_2",), number=8, train=TrainConfig.cosine(40)),
        student="resnet8",
        transfer=TransferConfig(train=TrainConfig.cosine(30), cached_augmentations=8),
    ),
}
