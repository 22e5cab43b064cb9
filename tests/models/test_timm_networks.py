"""timm's networks behind `create`."""

import sys

import pytest
import torch

from crdkit.models import create, measure, save_weights


def test_a_missing_timm_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
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
        "timm/mobilenetv3_small_050", num_classes=5, in_channels=1, weights=tmp_path / "w.safetensors"
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
