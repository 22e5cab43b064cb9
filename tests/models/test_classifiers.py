"""torchvision classifiers: outputs, input channels, weights."""

import urllib.request

import pytest
import torch
from torch import nn

from crdkit.models import create, load_weights, measure, read_weights, save_weights

SIZE = 64


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", (64, 64, 128, 256, 512)),
        ("mobilenet_v3_small", (16, 16, 24, 48, 576)),
        ("squeezenet1_1", (64, 128, 256, 512)),
        ("shufflenet_v2_x0_5", (24, 24, 48, 96, 1024)),
    ],
)
def test_outputs_run_from_stem_to_last_stage(name: str, channels: tuple[int, ...]) -> None:
    network = create(name, num_classes=7).eval()
    x = torch.randn(2, 3, SIZE, SIZE)
    logits, maps, embedding, preactivations = network(x)
    assert logits is not None and logits.shape == (2, 7)
    assert tuple(m.shape[1] for m in maps) == channels
    sizes = [m.shape[2] for m in maps]
    assert sizes == sorted(set(sizes), reverse=True)
    torch.testing.assert_close(embedding, maps[-1].mean((2, 3)))
    torch.testing.assert_close(logits, network.network(x))
    assert preactivations == ()


def test_resnet_embedding_is_what_its_classifier_reads() -> None:
    network = create("resnet18", num_classes=5).eval()
    outputs = network(torch.randn(2, 3, SIZE, SIZE))
    torch.testing.assert_close(network.network.fc(outputs.embedding), outputs.logits)


@pytest.mark.parametrize("in_channels", [1, 2, 4])
def test_in_channels(in_channels: int) -> None:
    network = create("resnet18", num_classes=2, in_channels=in_channels).eval()
    assert network(torch.randn(1, in_channels, SIZE, SIZE)).maps[0].shape == (1, 64, SIZE // 2, SIZE // 2)


@pytest.mark.parametrize("in_channels", [1, 2, 5])
def test_adapted_kernels_answer_gray_images_alike(tmp_path, in_channels: int) -> None:
    color = create("resnet18", num_classes=4).eval()
    save_weights(color, tmp_path / "color.safetensors")
    adapted = create(
        "resnet18", num_classes=4, in_channels=in_channels, weights=tmp_path / "color.safetensors"
    )
    gray = torch.rand(2, 1, SIZE, SIZE)
    torch.testing.assert_close(
        adapted.eval()(gray.expand(-1, in_channels, -1, -1)).logits,
        color(gray.expand(-1, 3, -1, -1)).logits,
        rtol=1e-4,
        atol=1e-4,
    )


def test_local_weights_keep_all_but_a_classifier_of_another_width(tmp_path) -> None:
    source = create("squeezenet1_1", num_classes=9, in_channels=1)
    torch.save({"model": source.network.state_dict(), "epoch": 3}, tmp_path / "published.pth")
    same = create("squeezenet1_1", num_classes=9, in_channels=1, weights=tmp_path / "published.pth")
    assert all(
        torch.equal(a, b)
        for a, b in zip(source.state_dict().values(), same.state_dict().values(), strict=True)
    )
    other = create(
        "squeezenet1_1", num_classes=3, in_channels=1, weights=str(tmp_path / "published.pth"), new_head=True
    )
    assert other.eval()(torch.zeros(1, 1, SIZE, SIZE)).logits.shape == (1, 3)
    state = other.network.state_dict()
    kept = [name for name, value in source.network.state_dict().items() if value.shape == state[name].shape]
    assert len(kept) == len(state) - 2
    with pytest.raises(ValueError, match=r"published\.pth has 9 classes, 3 .*-classifier.*new_head=True"):
        create("squeezenet1_1", num_classes=3, in_channels=1, weights=tmp_path / "published.pth")
    assert all(torch.equal(state[name], source.network.state_dict()[name]) for name in kept)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_encoders_have_no_classifier_and_exchange_weights_with_those_that_do(tmp_path, name: str) -> None:
    whole, encoder = create(name, num_classes=3).eval(), create(name, num_classes=None)
    x = torch.randn(1, 3, SIZE, SIZE)
    assert encoder(x).logits is None
    assert not any("classifier" in key for key in encoder.state_dict())
    save_weights(whole, tmp_path / "whole.safetensors")
    encoder = create(name, num_classes=None, weights=tmp_path / "whole.safetensors").eval()
    assert torch.equal(encoder(x).embedding, whole(x).embedding)
    save_weights(encoder, tmp_path / "encoder.safetensors")
    again = create(name, num_classes=4, weights=tmp_path / "encoder.safetensors", new_head=True).eval()(x)
    assert again.logits is not None and again.logits.shape == (1, 4)
    assert torch.equal(again.embedding, whole(x).embedding)


def test_weights_of_another_network_are_refused_by_name(tmp_path) -> None:
    save_weights(create("squeezenet1_1", num_classes=3), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w\.safetensors.*ResNet.*conv1\.weight"):
        create("resnet18", weights=tmp_path / "w.safetensors")


def test_loading_leaves_the_generator_alone_but_for_the_drawn_head(tmp_path) -> None:
    save_weights(create("squeezenet1_1", num_classes=3), tmp_path / "w.safetensors")
    before = torch.get_rng_state()
    network = create("squeezenet1_1", num_classes=3, weights=tmp_path / "w.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    load_weights(network, tmp_path / "w.safetensors")


def test_imagenet_comes_from_torchvisions_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    cached = tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    source = create("squeezenet1_1", num_classes=1000).network
    torch.save(source.state_dict(), cached)
    with pytest.raises(ValueError, match=r"SHA-256.*b8a52dc0"):
        create("squeezenet1_1", weights="imagenet")
    monkeypatch.setattr(
        "hashlib.sha256", lambda _: type("H", (), {"hexdigest": lambda self: "b8a52dc0" * 8})()
    )
    network = create("squeezenet1_1", num_classes=5, weights="imagenet").network
    assert torch.equal(network.features[0].weight, source.features[0].weight)
    assert network.classifier[1].out_channels == 5


def test_offline_says_where_to_put_the_file(tmp_path, monkeypatch) -> None:
    def offline(*_args, **_kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    with pytest.raises(ConnectionError) as caught:
        create("resnet18", weights="imagenet")
    assert str(tmp_path / "checkpoints" / "resnet18-f37072fd.pth") in str(caught.value)
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(caught.value)


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match=r"'resnet81'.*resnet8.*resnet18"):
        create("resnet81")
    with pytest.raises(ValueError, match=r"'torchvision/vgg31'.*torchvision/vgg1"):
        create("torchvision/vgg31")
    with pytest.raises(ValueError, match=r"'cifar/wrn-16-2'.*wrn_16_2"):
        create("cifar/wrn-16-2")
    with pytest.raises(ValueError, match=r"'qqq'.*resnet20.*….*\(\d+ in all\)"):
        create("qqq")
    with pytest.raises(ValueError, match=r"vit_b_16.*crdkit\.models\.FeatureExtractor"):
        create("vit_b_16")
    with pytest.raises(ValueError, match="auxiliary"):
        create("googlenet")
    with pytest.raises(ValueError, match=r"'IMAGENET1K_V9'.*resnet18.*IMAGENET1K_V1"):
        create("resnet18", weights="IMAGENET1K_V9")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        create("resnet18", weights="nowhere.pth")
    with pytest.raises(ValueError, match=r"num_classes.*1.*0"):
        create("resnet18", num_classes=0)
    with pytest.raises(ValueError, match=r"in_channels.*1.*0"):
        create("resnet18", in_channels=0)


def test_files_fit_the_bare_network_and_those_of_it_fit(tmp_path) -> None:
    network = create("squeezenet1_1", num_classes=3)
    bare = network.network
    assert list(network.state_dict()) == list(bare.state_dict())
    save_weights(network, tmp_path / "tapped.safetensors")
    save_weights(bare, tmp_path / "bare.safetensors")
    assert read_weights(tmp_path / "tapped.safetensors").keys() == bare.state_dict().keys()
    torch.save({f"network.{key}": t for key, t in bare.state_dict().items()}, tmp_path / "wrapped.pth")
    for name in ("tapped.safetensors", "bare.safetensors", "wrapped.pth"):
        again = create("squeezenet1_1", num_classes=3, weights=tmp_path / name)
        assert all(torch.equal(t, bare.state_dict()[key]) for key, t in again.state_dict().items())
    load_weights(create("squeezenet1_1", num_classes=3), tmp_path / "bare.safetensors")
    load_weights(bare, tmp_path / "tapped.safetensors")


def test_a_network_inside_another_is_saved_under_its_own_names() -> None:
    source = nn.ModuleDict({"teacher": create("squeezenet1_1", num_classes=3)})
    state = source.state_dict()
    assert "teacher.features.0.weight" in state
    target = nn.ModuleDict({"teacher": create("squeezenet1_1", num_classes=3)})
    inner = {key.replace("teacher.", "teacher.network."): t for key, t in state.items()}
    for names in (state, inner):
        for parameter in target.parameters():
            nn.init.zeros_(parameter)
        target.load_state_dict(names)
        assert all(torch.equal(t, state[key]) for key, t in target.state_dict().items())
    del state["teacher.features.0.weight"]
    with pytest.raises(RuntimeError, match=r"features\.0\.weight"):
        target.load_state_dict(state)


def test_the_cifar_networks_have_the_bare_names() -> None:
    cifar, plain = create("vgg11"), create("torchvision/vgg11", num_classes=2)
    assert cifar.classifier.out_features == 100
    assert type(plain.network).__module__.startswith("torchvision.")
    assert create("torchvision/squeezenet1_1").network.classifier[1].out_channels == 1000


def test_measured_dimensions() -> None:
    dimensions = measure(create("resnet18", num_classes=6), (3, 64, 96))
    assert dimensions.maps == ((64, 32, 48), (64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3))
    assert dimensions.embedding == 512
    assert dimensions.logits == (6,)
