"""One network of each kind that a run leaves, with weights drawn at random, and what it is."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from crdkit.data import Statistics
from crdkit.deploy import describe
from crdkit.distillers import SimKDProjector
from crdkit.models import Description, ReusedClassifier, Segmenter, attach_classifier, create
from crdkit.transfer import with_normalization

Shape = tuple[int, int, int]
NAMES = ("ant", "bee", "cat", "dog", "elk")
CLASSES = len(NAMES)


def _classifier(architecture: str, shape: Shape, modality: str) -> nn.Module:
    return create(architecture, num_classes=CLASSES, in_channels=shape[0])


def _encoder(architecture: str, shape: Shape, modality: str) -> nn.Module:
    return create(architecture, num_classes=None, in_channels=shape[0])


def _normalized(network: nn.Module, shape: Shape, modality: str) -> nn.Module:
    channels = range(shape[0])
    mean = {modality: tuple(0.3 + 0.1 * c for c in channels)}
    std = {modality: tuple(0.5 + 0.1 * c for c in channels)}
    return with_normalization(network, Statistics(mean, std), modality)


def _make(kind: str) -> tuple[nn.Module, str, str, Shape]:
    head, architecture, modality, shape = KINDS[kind]
    network = head(architecture, shape, modality)
    return network, architecture, modality, shape


def _plain(head: Callable[[str, Shape, str], nn.Module]) -> Callable[[str, Shape, str], nn.Module]:
    def make(architecture: str, shape: Shape, modality: str) -> nn.Module:
        return _normalized(head(architecture, shape, modality), shape, modality)

    return make


def _segmenter(architecture: str, shape: Shape, modality: str) -> nn.Module:
    encoder = _normalized(_encoder(architecture, shape, modality), shape, modality)
    return Segmenter(encoder, CLASSES, input_size=shape, hidden=8)


def _finetuned(architecture: str, shape: Shape, modality: str) -> nn.Module:
    encoder = _normalized(_encoder(architecture, shape, modality), shape, modality)
    return attach_classifier(encoder, CLASSES, shape, seed=0)


def _simkd(architecture: str, shape: Shape, modality: str) -> nn.Module:
    student = _normalized(_classifier(architecture, shape, modality), shape, modality)
    projector = SimKDProjector((64, 8, 8), (32, 8, 8))
    return ReusedClassifier(student, projector, nn.Linear(32, CLASSES))


KINDS: Mapping[str, tuple[Callable[[str, Shape, str], nn.Module], str, str, Shape]] = {
    "cifar": (_plain(_classifier), "resnet8", "rgb", (3, 32, 32)),
    "cifar-mobile": (_plain(_classifier), "MobileNetV2", "rgb", (3, 32, 32)),
    "depth-cnn": (_segmenter, "depth_cnn_half", "depth", (1, 32, 48)),
    "depth-encoder": (_plain(_encoder), "depth_cnn_half", "depth", (1, 32, 48)),
    "torchvision": (_plain(_classifier), "resnet18", "rgb", (3, 48, 48)),
    "torchvision-segmenter": (_segmenter, "mobilenet_v3_small", "thermal", (1, 64, 64)),
    "timm-cnn": (_plain(_classifier), "timm/resnet10t", "rgb", (3, 48, 48)),
    "timm-vit": (_plain(_classifier), "timm/test_vit", "rgb", (3, 64, 96)),
    "alexnet-ab": (_finetuned, "alexnet_small", "ab", (2, 32, 32)),
    "simkd": (_simkd, "resnet8", "rgb", (3, 32, 32)),
}
"""Name to how it is made, its architecture, modality and input."""


def make(kind: str) -> tuple[nn.Module, Description, Tensor]:
    """A network in eval mode, its description, and samples (6, C, H, W) in the modality's units."""
    torch.manual_seed(0)
    network, architecture, modality, shape = _make(kind)
    samples = torch.rand(6, *shape)
    if modality == "depth":
        samples = (1 + 4 * samples) * (samples > 0.1)  # holes are 0
    elif modality == "ab":
        samples = samples - 0.5
    elif modality not in ("rgb", "depth"):
        samples = torch.where(samples > 0.1, samples, torch.nan)
    network.train()
    with torch.no_grad():
        for _ in range(3):  # running statistics that are not 0 and 1
            network(samples)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    described = describe(
        network, architecture=architecture, modality=modality, shape=shape, class_names=NAMES
    )
    return network.eval(), described, samples


def answers(network: nn.Module, samples: Tensor) -> dict[str, Any]:
    """Logits, embedding and maps."""
    with torch.no_grad():
        outputs = network(samples)
    return {"logits": outputs.logits, "embedding": outputs.embedding, "maps": list(outputs.maps)}
