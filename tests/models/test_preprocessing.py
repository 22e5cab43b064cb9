"""How the input of weights was normalized: said by the file, the library, or nobody."""

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from crdkit.data import Normalize, PackedImages, Statistics
from crdkit.models import Normalized, create, find_preprocessing, save_weights, saved_preprocessing

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("wrap", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_normalized_network_says_its_own(wrap: str, channels: int, tmp_path: Path) -> None:
    mean, std = (0.1, 0.25, 0.5)[:channels], (0.5, 0.125, 2.0)[:channels]
    statistics = Statistics(mean={"x": mean}, std={"x": std})
    network = Normalized(Normalize(statistics, "x"), create("resnet8", in_channels=channels))
    torch.save({"model": {wrap + n: t for n, t in network.state_dict().items()}}, tmp_path / "w.pth")
    save_weights(network, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        found = find_preprocessing("resnet8", tmp_path / name)
        assert found is not None and found == saved_preprocessing(tmp_path / name)
        torch.testing.assert_close(torch.tensor(found.mean), torch.tensor(mean))
        assert found.std == std and found.modality is None and found.source == str(tmp_path / name)


def test_files_of_earlier_releases_say_theirs(tmp_path: Path) -> None:
    state = {f"network.{name}": value for name, value in create("resnet8").state_dict().items()}
    state |= {"normalise.mean": torch.zeros(3, 1, 1), "normalise.std": torch.full((3, 1, 1), 0.25)}
    torch.save(state, tmp_path / "w.pth")
    found = find_preprocessing("resnet8", tmp_path / "w.pth")
    assert found is not None and found[:2] == ((0.0,) * 3, (0.25,) * 3)
    assert (
        create("resnet8", weights=tmp_path / "w.pth", bare=True).state_dict().keys()
        == create("resnet8").state_dict().keys()
    )


def test_torchvision_says_that_of_its_weights(tmp_path: Path) -> None:
    for weights in ("imagenet", "IMAGENET1K_V1", tmp_path / "resnet18-f37072fd.pth"):
        if isinstance(weights, Path):
            torch.save(create("resnet18", num_classes=2).state_dict(), weights)
        found = find_preprocessing("resnet18", weights)
        assert found is not None and found[:2] == IMAGENET and found.modality == "rgb"
    half = find_preprocessing("torchvision/vgg16", "IMAGENET1K_FEATURES")
    assert half is not None and half.std == (1 / 255, 1 / 255, 1 / 255)


def test_timm_says_that_of_the_name(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    file = tmp_path / "w.safetensors"
    save_weights(create("timm/test_vit", num_classes=2), file)
    expected: dict[tuple[str, Any], Any] = {
        ("timm/tf_efficientnet_lite0", file): HALF,
        ("timm/tf_efficientnet_lite0", "imagenet"): HALF,
        ("timm/resnet18", file): IMAGENET,
        ("timm/vit_small_patch14_dinov2", file): IMAGENET,
        ("timm/vit_small_patch16_224.augreg_in1k", file): HALF,
        ("timm/vit_small_patch16_224", "dino"): IMAGENET,
        ("timm/vit_base_patch16_clip_224", "openai"): (
            (0.48145466, 0.4578275, 0.40821073),
            (0.26862954, 0.26130258, 0.27577711),
        ),
    }
    for (name, weights), figures in expected.items():
        found = find_preprocessing(name, weights)
        assert found is not None and found[:2] == figures and "timm" in found.source


def test_published_files_of_cifar_say_nothing_and_others_warn(tmp_path: Path) -> None:
    torch.save({"model": create("resnet8").state_dict()}, tmp_path / "ckpt_epoch_240.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_preprocessing("resnet8", tmp_path / "ckpt_epoch_240.pth") is None
    save_weights(create("alexnet_small"), tmp_path / "mine.safetensors")
    save_weights(create("squeezenet1_1"), tmp_path / "squeeze.safetensors")
    for name, file in (("alexnet_small", "mine"), ("squeezenet1_1", "squeeze")):
        with pytest.warns(UserWarning, match=rf"{file}\.safetensors.*{name}"):
            assert find_preprocessing(name, tmp_path / f"{file}.safetensors") is None


@pytest.mark.realdata
@pytest.mark.parametrize(("normalization", "least", "most"), [("own", 0.78, 1.0), ("imagenet", 0.6, 0.88)])
def test_a_published_network_knows_ten_classes_best_with_its_own(
    normalization: str, least: float, most: float, real_data: Path
) -> None:
    from crdkit.transfer import make_network

    pytest.importorskip("timm")
    weights = real_data / "efficientnet_lite0.safetensors"
    if not weights.is_file():
        pytest.skip(f"no {weights.name}")
    data = Statistics(mean={"rgb": (0.4,) * 3}, std={"rgb": (0.3,) * 3})
    network = make_network(
        "timm/tf_efficientnet_lite0",
        "rgb",
        data,
        num_classes=1000,
        weights=os.fspath(weights),
        new_head=False,
        normalization=normalization,
    ).eval()
    images = PackedImages(real_data / "imagenette96.h5", "test")
    batch = images.__getitems__(range(0, len(images), 20))
    classes = torch.tensor([0, 217, 482, 491, 497, 566, 569, 571, 574, 701])
    with torch.no_grad():
        right = network(batch["rgb"]).logits[:, classes].argmax(1) == batch["label"]
    assert least < right.float().mean() < most
