"""Chosen layers as the maps of a network."""

import pytest
import torch
from torch import nn

from crdkit.models import ChosenLayers, DepthCNN, create, load_weights, measure, save_weights


def test_numbers_choose_among_the_maps_and_names_among_the_layers() -> None:
    network = create("resnet8", num_classes=5).eval()
    x = torch.rand(2, 3, 32, 32)
    plain = network(x)
    chosen = ChosenLayers(network, [2, -1, "layer1.0.conv1", 0]).eval()(x)
    for got, expected in zip(chosen.maps, (plain.maps[2], plain.maps[-1], None, plain.maps[0]), strict=True):
        assert expected is None or torch.equal(got, expected)
    kept: list[torch.Tensor] = []
    handle = network.get_submodule("layer1.0.conv1").register_forward_hook(
        lambda _m, _i, out: kept.append(out)
    )
    network(x)
    handle.remove()
    assert torch.equal(chosen.maps[2], kept[0])
    assert torch.equal(chosen.logits, plain.logits) and torch.equal(chosen.embedding, plain.embedding)
    assert chosen.preactivations == ()
    numbers = ChosenLayers(network, [1, 2]).eval()(x)
    for got, expected in zip(numbers.preactivations, plain.preactivations[1:3], strict=True):
        assert torch.equal(got, expected)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet10t", "vgg8", "depth_cnn"])
def test_every_library_has_numbers_and_its_own_names(name: str) -> None:
    whole = create(name, num_classes=3).eval()
    inner = getattr(whole, "network", whole)
    conv = next(key for key, part in inner.named_modules() if isinstance(part, nn.Conv2d))
    chosen = create(name, num_classes=3, layers=[-2, conv])
    chosen.load_state_dict(whole.state_dict())
    x = torch.rand(1, 3, 64, 64)
    got, expected = chosen.eval()(x), whole(x)
    assert torch.equal(got.maps[0], expected.maps[-2]) and torch.equal(got.logits, expected.logits)
    assert torch.equal(got.maps[1], inner.get_submodule(conv)(x))


def test_patch_tokens_are_maps_at_any_size() -> None:
    pytest.importorskip("timm")
    network = create("timm/vit_small_patch14_dinov2", num_classes=None, layers=["norm", 5, "blocks.5"]).eval()
    x = torch.rand(1, 3, 224, 308)
    with torch.no_grad():
        outputs = network(x)
        tokens = network.network.network.forward_features(x)
    assert [tuple(m.shape) for m in outputs.maps] == [(1, 384, 16, 22)] * 3
    assert outputs.logits is None and outputs.embedding.shape == (1, 384)
    for row, column in ((0, 0), (3, 21), (15, 1)):
        assert torch.equal(outputs.maps[0][0, :, row, column], tokens[0, 1 + 22 * row + column])
    assert torch.equal(outputs.maps[1], outputs.maps[2])
    with pytest.raises(ValueError, match=r"96 × 128.*14"):
        measure(network, (3, 96, 128))


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("timm/vit_wee_patch16_reg1_gap_256", "blocks.3", (256, 4, 6)),  # one register token, no class token
        ("timm/swin_tiny_patch4_window7_224", "layers.1", (192, 8, 12)),  # channels last
        ("timm/eva02_tiny_patch14_224", "blocks.2", None),  # 64 is no multiple of 14
    ],
)
def test_other_transformers(name: str, layer: str, shape: tuple[int, ...] | None) -> None:
    pytest.importorskip("timm")
    network = create(name, num_classes=None, layers=[layer])
    if shape is None:
        with pytest.raises(ValueError, match="64"):
            measure(network, (3, 64, 96))
    else:
        assert measure(network, (3, 64, 96)).maps == (shape,)


def test_what_is_no_layer_or_no_map_is_named() -> None:
    network = create("resnet8", num_classes=5)
    with pytest.raises(ValueError, match=r"'layer4'.*layer3"):
        ChosenLayers(network, ["layer4"])
    with pytest.raises(ValueError, match="at least one"):
        ChosenLayers(network, [])
    with pytest.raises(ValueError, match="'layer1'"):
        ChosenLayers(network, "layer1")
    for layer, word in ((9, "9"), (-6, "-6"), ("fc", "'fc'")):
        with pytest.raises(ValueError, match=word):
            measure(ChosenLayers(network, [layer]), (3, 32, 32))
    with pytest.raises(ValueError, match="in place"):
        measure(ChosenLayers(network, ["layer1.0.bn1"]), (3, 32, 32))
    pytest.importorskip("timm")
    tokens = create("timm/test_vit", num_classes=2, layers=["fc_norm"])
    with pytest.raises(ValueError, match="'fc_norm'"):
        measure(tokens, (3, 64, 64))


def test_files_are_those_of_the_bare_network_and_the_layers_are_marked(tmp_path) -> None:
    bare = DepthCNN(widths=(3, 4), strides=(2, 1))
    first, other = ChosenLayers(bare, [0]), ChosenLayers(bare, [1])
    marks = [network.state_dict()["chosen_layers"] for network in (first, other, ChosenLayers(bare, [0]))]
    assert not torch.equal(marks[0], marks[1]) and torch.equal(marks[0], marks[2])
    save_weights(first, tmp_path / "w.safetensors")
    save_weights(bare, tmp_path / "bare.safetensors")
    for name in ("w", "bare"):
        for target in (
            DepthCNN(widths=(3, 4), strides=(2, 1)),
            ChosenLayers(DepthCNN(widths=(3, 4), strides=(2, 1)), [1]),
        ):
            load_weights(target, tmp_path / f"{name}.safetensors")
            state = target.state_dict()
            assert all(torch.equal(state[key], value) for key, value in bare.state_dict().items())
    inside = nn.ModuleDict({"teacher": first})
    assert "teacher.chosen_layers" in inside.state_dict()
    inside.load_state_dict(nn.ModuleDict({"teacher": other}).state_dict())
    assert torch.equal(first.state_dict()["chosen_layers"], marks[0])
    assert "[0]" in str(first) and str(first) != str(other)
