"""The naive references, and the networks' sizes of the published benchmark."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from crdkit.distillers import FeatureSpec
from crdkit.models import Dimensions, Outputs

RESNET = ((16, 32), (16, 32), (32, 16), (64, 8), 64)
RESNET_X4 = ((32, 32), (64, 32), (128, 16), (256, 8), 256)
VGG = ((64, 32), (128, 16), (256, 8), (512, 4), (512, 4), 512)

# (channels, size) of every map for 32x32 images, then the width of the embedding.
SIZES = {
    "resnet20": RESNET,
    "resnet32": RESNET,
    "resnet56": RESNET,
    "resnet110": RESNET,
    "resnet8x4": RESNET_X4,
    "resnet32x4": RESNET_X4,
    "wrn_16_2": ((16, 32), (32, 32), (64, 16), (128, 8), 128),
    "wrn_40_2": ((16, 32), (32, 32), (64, 16), (128, 8), 128),
    "wrn_40_1": RESNET,
    "vgg8": VGG,
    "vgg13": VGG,
    "ResNet50": ((64, 32), (256, 32), (512, 16), (1024, 8), (2048, 4), 2048),
    "MobileNetV2": ((16, 16), (12, 16), (16, 8), (48, 4), (160, 2), 1280),
    "ShuffleV1": ((24, 32), (240, 16), (480, 8), (960, 4), 960),
    "ShuffleV2": ((24, 32), (116, 16), (232, 8), (464, 4), 1024),
}
CLASSES = 10


@pytest.fixture(scope="session")
def naive() -> ModuleType:
    """The module of plain loops beside this file."""
    spec = importlib.util.spec_from_file_location("naive_distillers", Path(__file__).with_name("naive.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Zoo:
    """Sizes and random outputs of the published benchmark's networks, by name."""

    def dimensions(self, name: str) -> Dimensions:
        *maps, embedding = SIZES[name]
        shapes = tuple((c, size, size) for c, size in maps)
        return Dimensions(shapes, embedding, (CLASSES,), preactivations=len(shapes))

    def spec(self, student: str, teacher: str, **changes: object) -> FeatureSpec:
        embedding = self.dimensions(teacher).embedding
        spec = FeatureSpec(
            self.dimensions(student),
            self.dimensions(teacher),
            num_samples=20,
            labels=torch.arange(20) % CLASSES,
            teacher_classifier=nn.Linear(embedding, CLASSES),
        )
        return spec._replace(**changes)

    def outputs(self, dimensions: Dimensions, batch: int = 4, *, grad: bool = False) -> Outputs:
        """Random outputs of these sizes, each tensor a leaf."""

        def draw(*shape: int) -> Tensor:
            return torch.randn(batch, *shape, requires_grad=grad)

        maps = tuple(draw(*shape) for shape in dimensions.maps)
        before = tuple(draw(*shape) for shape in dimensions.maps)
        return Outputs(draw(*(dimensions.logits or ())), maps, draw(dimensions.embedding), before)


@pytest.fixture(scope="session")
def zoo() -> Zoo:
    return Zoo()
