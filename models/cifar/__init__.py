"""The networks of the CIFAR-100 distillation benchmark of Tian et al., 2020, under its names."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from .mobilenet import MobileNetV2
from .resnet import ResNet
from .resnet50 import ResNet50
from .shufflenet_v1 import ShuffleNetV1
from .shufflenet_v2 import ShuffleNetV2
from .vgg import VGG
from .wide_resnet import WideResNet

# Each takes `num_classes` and `in_channels`. Names, order and shapes of parameters are the published ones.
NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "resnet8": partial(ResNet, 8),
    "resnet14": partial(ResNet, 14),
    "resnet20": partial(ResNet, 20),
    "resnet32": partial(ResNet, 32),
    "resnet44": partial(ResNet, 44),
    "resnet56": partial(ResNet, 56),
    "resnet110": partial(ResNet, 110),
    "resnet8x4": partial(ResNet, 8, (32, 64, 128, 256)),
    "resnet32x4": partial(ResNet, 32, (32, 64, 128, 256)),
    "ResNet50": ResNet50,
    "wrn_16_1": partial(WideResNet, 16, 1),
    "wrn_16_2": partial(WideResNet, 16, 2),
    "wrn_40_1": partial(WideResNet, 40, 1),
    "wrn_40_2": partial(WideResNet, 40, 2),
    "vgg8": partial(VGG, (1, 1, 1, 1, 1)),
    "vgg11": partial(VGG, (1, 1, 2, 2, 2)),
    "vgg13": partial(VGG, (2, 2, 2, 2, 2)),
    "vgg16": partial(VGG, (2, 2, 3, 3, 3)),
    "vgg19": partial(VGG, (2, 2, 4, 4, 4)),
    "MobileNetV2": partial(MobileNetV2, 6, 0.5),
    "ShuffleV1": ShuffleNetV1,
    "ShuffleV2": ShuffleNetV2,
}
