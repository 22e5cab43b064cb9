"""The classifier of a network is the linear layer that gives its logits, wherever it is registered."""

import pytest
import torch
from torch import Tensor, nn

from crdkit.models import (
    DepthCNN,
    FeatureExtractor,
    Outputs,
    Segmenter,
    attach_classifier,
    classifier_of,
    create,
)

SHAPE = (3, 32, 32)


class Scene(nn.Module):
    """A classifier whose gate, auxiliary head and projection head are registered after it."""

    def __init__(self, kind: str = "plain") -> None:
        super().__init__()
        self.kind = kind
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.head = nn.Linear(8, 5)
        self.gate = nn.Linear(8, 8)
        self.auxiliary = nn.Linear(8, 5)
        self.unused = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Outputs:
        feature_map = self.stem(x)
        feature_map = feature_map * self.gate(feature_map.mean((2, 3))).sigmoid()[..., None, None]
        embedding = feature_map.mean((2, 3))
        logits = self.head(embedding)
        auxiliary = self.auxiliary(embedding)
        if self.kind == "average":
            logits = (logits + auxiliary) / 2
        elif self.kind == "scaled":
            logits = logits * 10
        elif self.kind == "scaled in place":
            logits.mul_(10)
        elif self.kind == "viewed":
            logits = logits.flatten(1).float()
        elif self.kind == "encoder":
            logits = None
        return Outputs(logits, (feature_map,), embedding)


@pytest.mark.parametrize("kind", ["plain", "viewed"])
def test_layers_registered_after_the_classifier_are_not_taken_for_it(kind: str) -> None:
    network = Scene(kind)
    assert classifier_of(network, SHAPE) is network.head
    assert classifier_of(nn.Sequential(nn.Identity(), network), SHAPE) is network.head


@pytest.mark.parametrize("kind", ["average", "scaled", "scaled in place", "encoder"])
def test_logits_of_anything_but_one_linear_layer_have_no_classifier(kind: str) -> None:
    assert classifier_of(Scene(kind), SHAPE) is None


def test_any_module_is_searched_through_its_extractor() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 7))
    plain.add_module("late", nn.Linear(7, 7))
    middle = FeatureExtractor(plain, maps=["0"], logits="2")
    assert classifier_of(middle, SHAPE) is plain[2]
    assert classifier_of(FeatureExtractor(plain, maps=["0"]), SHAPE) is plain.late
    assert classifier_of(FeatureExtractor(plain, maps=["0"], logits=None), SHAPE) is None


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("resnet8", "fc"),
        ("ResNet50", "linear"),
        ("vgg8", "classifier"),
        ("MobileNetV2", "classifier.0"),
        ("alexnet_small", "classifier"),
        ("resnet18", "network.fc"),
        ("mobilenet_v3_small", "network.classifier.3"),
        ("timm/resnet10t", "network.fc"),
        ("timm/test_vit", "network.head"),
    ],
)
def test_classifiers_of_networks_by_name(name: str, place: str) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    network = create(name, num_classes=6)
    assert classifier_of(network, (3, 64, 64)) is network.get_submodule(place)
    assert classifier_of(create(name, num_classes=None), (3, 64, 64)) is None


def test_heads_on_an_encoder_with_linear_layers_inside() -> None:
    pytest.importorskip("timm")
    encoder = create("timm/test_vit", num_classes=None)
    assert classifier_of(Segmenter(encoder, 4, input_size=(3, 64, 64)), (3, 64, 64)) is None
    network = attach_classifier(encoder, 4, (3, 64, 64), seed=0)
    assert classifier_of(network, (3, 64, 64)) is network.classifier


def test_the_search_leaves_no_trace() -> None:
    network, state = Scene().train(), torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    classifier_of(network, SHAPE)
    assert network.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(part._forward_hooks for part in network.modules())
    assert classifier_of(DepthCNN(3), SHAPE) is None
