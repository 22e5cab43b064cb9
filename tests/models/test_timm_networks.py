"""timm's networks behind `create`."""

import sys
from collections.abc import Iterator

import pytest
import torch

from crdkit.models import catalog, create, has_classifier, measure, save_weights


@pytest.fixture
def no_timm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """timm is not installed, and nobody remembers its names."""
    kept = catalog._timm, catalog._timm_former
    for found in kept:
        found.cache_clear()
    monkeypatch.setitem(sys.modules, "timm", None)
    yield
    for found in kept:
        found.cache_clear()


def test_a_missing_timm_is_named(no_timm: None) -> None:
    with pytest.raises(ValueError, match=r"'crdkit\[timm\]'"):
        create("timm/resnet18")
    with pytest.raises(ValueError, match=r"'resnet81'.*resnet8"):
        create("resnet81")


@pytest.mark.parametrize(
    ("name", "channels", "width"),
    [
        ("timm/resnet10t", (64, 64, 128, 256, 512), 512),
        ("timm/mobilenetv3_small_050", (16, 8, 16, 24, 288), 1024),
        ("timm/convnext_atto", (40, 80, 160, 320), 320),
    ],
)
def test_outputs(name: str, channels: tuple[int, ...], width: int) -> None:
    timm = pytest.importorskip("timm")
    network = create(name, num_classes=3, in_channels=1).eval()
    x = torch.randn(2, 1, 64, 64)
    outputs = network(x)
    torch.testing.assert_close(outputs.logits, network.network(x))
    torch.testing.assert_close(network.network.get_classifier()(outputs.embedding), outputs.logits)
    features = timm.create_model(name.removeprefix("timm/"), features_only=True, in_chans=1)
    assert tuple(features.feature_info.channels()) == channels
    assert tuple(m.shape[1] for m in outputs.maps) == channels
    assert tuple(x.shape[2] // m.shape[2] for m in outputs.maps) == tuple(features.feature_info.reduction())
    assert outputs.embedding.shape == (2, width)
    assert not network.network.get_classifier()._forward_pre_hooks


def test_encoders_and_weights(tmp_path) -> None:
    pytest.importorskip("timm")
    whole = create("timm/mobilenetv3_small_050", num_classes=3).eval()
    x = torch.randn(1, 3, 64, 64)
    save_weights(whole, tmp_path / "w.safetensors")
    encoder = create(
        "timm/mobilenetv3_small_050", num_classes=None, weights=tmp_path / "w.safetensors"
    ).eval()
    outputs = encoder(x)
    assert outputs.logits is None and torch.equal(outputs.embedding, whole(x).embedding)
    gray = create(
        "timm/mobilenetv3_small_050",
        num_classes=5,
        in_channels=1,
        weights=tmp_path / "w.safetensors",
        new_head=True,
    ).eval()
    y = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(
        gray(y).embedding, whole(y.expand(-1, 3, -1, -1)).embedding, rtol=1e-4, atol=1e-5
    )
    assert measure(gray, (1, 64, 64)).logits == (5,)


def test_names_and_networks_that_cannot_serve() -> None:
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=r"'convnext_ato'.*timm/convnext_atto"):
        create("convnext_ato")
    with pytest.raises(ValueError, match=r"'timm/resnet10tt'.*timm/resnet10t"):
        create("timm/resnet10tt")
    with pytest.raises(
        ValueError, match=r"deit_tiny_distilled_patch16_224.*crdkit\.models\.FeatureExtractor"
    ):
        create("timm/deit_tiny_distilled_patch16_224")


@pytest.mark.parametrize("name", ["test_vit", "resnet10t", "vit_tiny_patch16_224"])
def test_dynamic_sizes_change_no_bit(name: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(3)
    network = create(f"timm/{name}", num_classes=3).eval()
    after = torch.get_rng_state()
    torch.manual_seed(3)
    plain = timm.create_model(name, num_classes=3).eval()
    assert torch.equal(torch.get_rng_state(), after)
    x = torch.rand(1, *plain.pretrained_cfg["input_size"])
    with torch.no_grad():
        assert torch.equal(network(x).logits, plain(x))


def test_published_weights_come_from_timm(tmp_path, monkeypatch) -> None:
    timm = pytest.importorskip("timm")
    asked: list[str] = []
    real = timm.create_model

    def published(name: str, **chosen: object) -> torch.nn.Module:
        if chosen.pop("pretrained", False):
            asked.append(name)
            torch.manual_seed(5)
        return real(name, **chosen)

    monkeypatch.setattr(timm, "create_model", published)
    before = torch.get_rng_state()
    encoder = create("timm/test_vit", num_classes=None, in_channels=1, weights="imagenet")
    create("timm/test_vit", num_classes=None, weights="r160_in1k")
    assert asked == ["test_vit.r160_in1k"] * 2
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    source = real("test_vit")
    stem = source.patch_embed.proj.weight.sum(1, keepdim=True)
    torch.testing.assert_close(encoder.network.patch_embed.proj.weight, stem)
    assert torch.equal(encoder.network.blocks[0].mlp.fc1.weight, source.blocks[0].mlp.fc1.weight)
    with pytest.raises(ValueError, match=r"'r999'.*timm/test_vit.*r160_in1k"):
        create("timm/test_vit", weights="r999")
    with pytest.raises(ValueError, match="timm/vit_wee_patch16_reg1_gap_256x"):
        create("timm/vit_wee_patch16_reg1_gap_256x", weights="imagenet")


def test_without_a_network_the_place_of_the_file_is_told(monkeypatch) -> None:
    timm = pytest.importorskip("timm")
    real = timm.create_model

    def offline(name: str, **chosen: object) -> torch.nn.Module:
        if chosen.get("pretrained"):
            raise OSError("Name or service not known")
        return real(name, **chosen)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ConnectionError, match=r"https://huggingface\.co/timm/test_vit\.r160_in1k"):
        create("timm/test_vit", weights="imagenet")


def test_names_of_weights_without_classifier() -> None:
    pytest.importorskip("timm")
    assert not has_classifier("timm/vit_small_patch14_dinov2")
    assert has_classifier("timm/resnet18") and has_classifier("resnet18") and has_classifier("resnet8")
