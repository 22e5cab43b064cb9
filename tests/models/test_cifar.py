"""The networks of the CIFAR benchmark. Their published values are in test_repdistiller.py."""

import math

import pytest
import torch
from torch import nn

from crdkit.models import create, load_weights, measure, save_weights
from crdkit.models.cifar import NETWORKS, VGG, MobileNetV2, ResNet, WideResNet
from crdkit.models.cifar.parts import shuffle

# Parameters at 100 classes, and embedding width.
ZOO = {
    "resnet8": (83_892, 64),
    "resnet14": (181_108, 64),
    "resnet20": (278_324, 64),
    "resnet32": (472_756, 64),
    "resnet44": (667_188, 64),
    "resnet56": (861_620, 64),
    "resnet110": (1_736_564, 64),
    "resnet8x4": (1_233_540, 256),
    "resnet32x4": (7_433_860, 256),
    "ResNet50": (23_705_252, 2048),
    "wrn_16_1": (180_916, 64),
    "wrn_16_2": (703_284, 128),
    "wrn_40_1": (569_780, 64),
    "wrn_40_2": (2_255_156, 128),
    "vgg8": (3_965_028, 512),
    "vgg11": (9_277_284, 512),
    "vgg13": (9_462_180, 512),
    "vgg16": (14_774_436, 512),
    "vgg19": (20_086_692, 512),
    "MobileNetV2": (812_836, 1280),
    "ShuffleV1": (949_258, 960),
    "ShuffleV2": (1_355_528, 1024),
}
FAMILIES = ["resnet8", "resnet8x4", "wrn_16_2", "vgg11", "ResNet50", "MobileNetV2", "ShuffleV1", "ShuffleV2"]


def lively(name: str, **arguments) -> nn.Module:
    """A network in eval mode whose batch norms do something."""
    network = create(name, **arguments).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.3, 0.3)
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    return network


def test_parameters_and_embedding_widths() -> None:
    found = {}
    with torch.device("meta"):
        for name in NETWORKS:
            network = create(name)
            head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
            found[name] = (sum(p.numel() for p in network.parameters()), head.in_features)
    assert found == ZOO


@pytest.mark.parametrize("name", ["resnet8", "resnet8x4", "vgg11", "ResNet50", "ShuffleV1"])
def test_preactivations_lack_the_last_relu_alone(name: str) -> None:
    outputs = lively(name)(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(outputs.embedding, outputs.maps[-1].mean((2, 3)))
    assert len(outputs.preactivations) == len(outputs.maps)
    assert outputs.preactivations[0] is outputs.maps[0]
    for before, after in zip(outputs.preactivations[1:], outputs.maps[1:], strict=True):
        assert before.min() < 0
        assert torch.equal(before.relu(), after)


def test_preactivations_of_wide_networks_are_what_the_next_norm_gives() -> None:
    network = lively("wrn_16_2")
    outputs = network(torch.randn(2, 3, 32, 32))
    norms = [network.block2.layer[0].bn1, network.block3.layer[0].bn1, network.bn1]
    assert outputs.preactivations[0] is outputs.maps[0]
    for norm, before, after in zip(norms, outputs.preactivations[1:], outputs.maps[1:], strict=True):
        torch.testing.assert_close(before, norm(after))
    torch.testing.assert_close(outputs.embedding, outputs.preactivations[-1].relu().mean((2, 3)))


def test_preactivations_of_shufflenet_v2_are_not_shuffled() -> None:
    outputs = lively("ShuffleV2")(torch.randn(2, 3, 32, 32))
    assert outputs.preactivations[0] is outputs.maps[0]
    for before, after in zip(outputs.preactivations[1:], outputs.maps[1:], strict=True):
        kept, last = before.chunk(2, dim=1)
        assert kept.min() >= 0 > last.min()
        assert torch.equal(after[:, 0::2], kept)
        assert torch.equal(after[:, 1::2], last.relu())


def test_maps_of_mobilenet_have_no_relu() -> None:
    network = lively("MobileNetV2")
    outputs = network(torch.randn(2, 3, 32, 32))
    assert outputs.preactivations == outputs.maps
    assert all(m.min() < 0 for m in outputs.maps[1:])
    torch.testing.assert_close(outputs.embedding, network.conv2(outputs.maps[-1]).mean((2, 3)))


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_shuffle_is_the_index_of_its_docstring(groups: int) -> None:
    x = torch.randn(2, 6, 1, 3)
    shuffled = shuffle(x, groups)
    n = 6 // groups
    for g in range(groups):
        for i in range(n):
            assert torch.equal(shuffled[:, i * groups + g], x[:, g * n + i])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_training_step_reaches_every_parameter_and_each_norm_once(name: str) -> None:
    network = create(name, num_classes=5, in_channels=1)
    outputs = network(torch.randn(4, 1, 32, 32))
    loss = nn.functional.cross_entropy(outputs.logits, torch.tensor([0, 1, 2, 3]))
    loss.backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not idle
    assert sum(p.grad.abs().sum() > 0 for p in network.parameters()) > 0.9 * len(list(network.parameters()))
    counts = {key: int(t) for key, t in network.state_dict().items() if key.endswith("num_batches_tracked")}
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_through_preactivations_are_those_through_maps(name: str) -> None:
    network = lively(name)
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    outputs = network(x)
    gradients = torch.autograd.grad(sum(p.square().sum() for p in outputs.preactivations), x)
    assert gradients[0].isfinite().all() and gradients[0].abs().sum() > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_bf16_autocast(name: str) -> None:
    network, x = lively(name), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        exact = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(x)
    for a, b in zip((exact.logits, *exact.maps), (rough.logits, *rough.maps), strict=True):
        assert nn.functional.cosine_similarity(a.flatten(), b.float().flatten(), dim=0) > 0.99


@pytest.mark.parametrize("name", FAMILIES)
def test_larger_and_oblong_images(name: str) -> None:
    network = create(name, num_classes=4)
    small, large = measure(network, (3, 32, 32)), measure(network, (3, 64, 96))
    assert large.embedding == small.embedding == ZOO[name][1]
    assert large.logits == (4,)
    for number, ((c, h, w), bigger) in enumerate(zip(small.maps, large.maps, strict=True)):
        # VGG pools once more from 64 rows on.
        divisor = 2 if name == "vgg11" and number == 4 else 1
        assert bigger == (c, 2 * h // divisor, 3 * w // divisor)


@pytest.mark.parametrize("name", FAMILIES)
def test_encoders_exchange_weights_with_classifiers(tmp_path, name: str) -> None:
    whole = lively(name, num_classes=3)
    x = torch.randn(1, 3, 32, 32)
    expected = whole(x)
    save_weights(whole, tmp_path / "whole.safetensors")
    encoder = create(name, num_classes=None, weights=tmp_path / "whole.safetensors").eval()
    outputs = encoder(x)
    assert outputs.logits is None and torch.equal(outputs.embedding, expected.embedding)
    assert len(encoder.state_dict()) == len(whole.state_dict()) - 2

    save_weights(encoder, tmp_path / "encoder.safetensors")
    again = create(name, num_classes=7, weights=tmp_path / "encoder.safetensors", new_head=True).eval()(x)
    assert again.logits.shape == (1, 7) and torch.equal(again.embedding, expected.embedding)


def test_weights_of_other_channels_and_classes_are_adapted(tmp_path) -> None:
    color = lively("vgg8", num_classes=9)
    torch.save({"model": color.state_dict(), "epoch": 240}, tmp_path / "color.pth")
    same = create("vgg8", num_classes=9, weights=tmp_path / "color.pth").eval()
    assert all(torch.equal(t, color.state_dict()[key]) for key, t in same.state_dict().items())
    depth = create(
        "vgg8", num_classes=2, in_channels=1, weights=str(tmp_path / "color.pth"), new_head=True
    ).eval()
    gray = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(depth(gray).embedding, color(gray.expand(-1, 3, -1, -1)).embedding)
    assert depth(gray).logits.shape == (2, 2)
    assert create("vgg8", num_classes=9, weights=tmp_path / "color.pth", new_head=False)
    with pytest.raises(ValueError, match=r"color\.pth.*9.*2"):
        create("vgg8", num_classes=2, weights=tmp_path / "color.pth", new_head=False)


def test_loading_leaves_the_generator_alone_and_heads_drawn_anew_differ(tmp_path) -> None:
    save_weights(create("resnet8", num_classes=3), tmp_path / "w.safetensors")
    before = torch.get_rng_state()
    network = create("resnet8", num_classes=3, weights=tmp_path / "w.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    load_weights(network, tmp_path / "w.safetensors")
    one, two = (
        create("resnet8", num_classes=4, weights=tmp_path / "w.safetensors", new_head=True) for _ in range(2)
    )
    assert torch.equal(one.conv1.weight, two.conv1.weight)
    assert not torch.equal(one.fc.weight, two.fc.weight)


@pytest.mark.parametrize("name", ["resnet8x4", "wrn_16_2", "vgg8", "MobileNetV2", "ResNet50"])
def test_kernels_start_with_the_published_spread(name: str) -> None:
    network = create(name)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            expected = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.05)
            assert module.bias is None or not module.bias.any()
    if name in ("vgg8", "MobileNetV2"):
        head = network.classifier if name == "vgg8" else network.classifier[0]
        assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.05) and not head.bias.any()
    if name == "wrn_16_2":
        assert not network.fc.bias.any()


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"depth.*6n.*2.*8.*18"):
        ResNet(18)
    with pytest.raises(ValueError, match=r"widths.*\(16, 32\)"):
        ResNet(8, (16, 32))
    with pytest.raises(ValueError, match=r"depth.*6n.*4.*10.*20"):
        WideResNet(20)
    with pytest.raises(ValueError, match=r"width.*1.*0"):
        WideResNet(16, 0)
    with pytest.raises(ValueError, match=r"layers.*\(1, 0, 1, 1, 1\)"):
        VGG((1, 0, 1, 1, 1))
    with pytest.raises(ValueError, match=r"expansion.*1.*0"):
        MobileNetV2(0)
    with pytest.raises(ValueError, match=r"width.*0\.125.*….*1.*0\.01"):
        MobileNetV2(6, 0.01)
    with pytest.raises(ValueError, match=r"'imagenet'.*wrn_16_2"):
        create("wrn_16_2", weights="imagenet")
    with pytest.raises(ValueError, match=r"num_classes.*1.*0"):
        create("wrn_16_2", num_classes=0)
