"""Saved networks come back as the same function, or are refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kinds import CLASSES, KINDS, NAMES, answers, make
from safetensors.torch import load_file
from torch import nn

import crdkit
from crdkit.deploy import Card, describe, save
from crdkit.models import Outputs, create, load_weights, save_weights


def saved(kind: str, folder: Path) -> tuple[nn.Module, torch.Tensor]:
    network, described, samples = make(kind)
    save(network, folder, described, Card("kd", 0, {"top1": 0.5}))
    return network, samples


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_network_is_the_same_function(kind: str, tmp_path: Path) -> None:
    network, samples = saved(kind, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    (tmp_path / "alone").mkdir()
    alone = shutil.copy(tmp_path / "a/model.safetensors", tmp_path / "alone/student.safetensors")
    for place in (tmp_path / "a", tmp_path / "copy/model.safetensors", alone):
        loaded, preprocess = crdkit.load(place)
        assert not loaded.training
        torch.testing.assert_close(answers(loaded, samples), answers(network, samples), rtol=0, atol=0)
        assert preprocess.description.architecture == KINDS[kind][1]
        assert preprocess.description.class_names == (NAMES if kind != "depth-encoder" else ())


@pytest.mark.parametrize("kind", ["cifar", "torchvision", "timm-cnn", "timm-vit"])
def test_bare_weights_are_refused_where_they_would_give_another_function(kind: str, tmp_path: Path) -> None:
    network, samples = saved(kind, tmp_path)
    file, architecture = tmp_path / "model.safetensors", KINDS[kind][1]
    with pytest.raises(ValueError, match="normaliz"):
        create(architecture, num_classes=CLASSES, weights=file)
    with pytest.raises(ValueError, match="normaliz"):
        load_weights(create(architecture, num_classes=CLASSES), file)
    bare = create(architecture, num_classes=CLASSES, weights=file, bare=True).eval()
    normalized: Any = network
    expected = answers(network, samples)
    found = answers(bare, normalized.normalize(samples))
    torch.testing.assert_close(found["logits"], expected["logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["torchvision", "timm-cnn", "timm-vit"])
def test_other_libraries_load_the_file_under_their_own_names(kind: str, tmp_path: Path) -> None:
    network, samples = saved(kind, tmp_path)
    if kind == "torchvision":
        import torchvision

        other = torchvision.models.resnet18(num_classes=CLASSES)
    else:
        import timm

        more = {"dynamic_img_size": True} if kind == "timm-vit" else {}
        other = timm.create_model(KINDS[kind][1].removeprefix("timm/"), num_classes=CLASSES, **more)
    assert not any(other.load_state_dict(load_file(tmp_path / "model.safetensors")))
    content = json.loads((tmp_path / "model.json").read_text())
    mean, std = (torch.tensor(content[name]).view(-1, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        found = other.eval()((samples - mean) / std)
    torch.testing.assert_close(found, answers(network, samples)["logits"], rtol=1e-4, atol=1e-4)


def test_a_network_of_ones_own_is_given(tmp_path: Path) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> Outputs:
            maps = self.layer(x)
            return Outputs(None, (maps,), maps.mean((2, 3)))

    own = Own()
    described = describe(own, architecture=None, modality="rgb", shape=(3, 8, 8))
    save(own, tmp_path, described, Card("fitnet", 0))
    with pytest.raises(ValueError, match="network=MyNetwork"):
        crdkit.load(tmp_path)
    loaded, _ = crdkit.load(tmp_path, network=Own())
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(answers(loaded, images), answers(own, images), rtol=0, atol=0)


def test_what_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    network, described, _ = make("cifar")
    with pytest.raises(FileNotFoundError):
        crdkit.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        crdkit.load(tmp_path)
    for method in ("kd", "crd"):
        save(network, tmp_path / "run/deploy" / method, described, Card(method, 0))
    with pytest.raises(ValueError, match=r"deploy/crd, deploy/kd"):
        crdkit.load(tmp_path / "run")
    shutil.rmtree(tmp_path / "run/deploy/crd")
    crdkit.load(tmp_path / "run")  # one network: that
    save_weights(network, tmp_path / "undescribed.safetensors")
    with pytest.raises(ValueError, match="does not say what network"):
        crdkit.load(tmp_path / "undescribed.safetensors")
    file = tmp_path / "run/deploy/kd/model.json"
    content = json.loads(file.read_text())
    for change in ({"head": {"kind": "hologram"}}, {"size": None}, {"class_names": ["one", "two"]}):
        file.write_text(json.dumps(content | change))
        with pytest.raises(ValueError):
            crdkit.load(tmp_path / "run")
    file.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        crdkit.load(tmp_path / "run")


def test_the_folder_has_a_card_that_keeps_a_license(tmp_path: Path) -> None:
    network, described, _ = make("depth-cnn")
    card = Card(
        "crd-dense", 3, {"mean_iou": 0.25, "iou": [0.1]}, "crossmodal", "rooms", ["resnet18, sees rgb"]
    )
    save(network, tmp_path, described, card)
    text = (tmp_path / "README.md").read_text()
    front, _, rest = text.removeprefix("---\n").partition("\n---\n")
    import yaml

    told = yaml.safe_load(front)
    assert told["library_name"] == "crdkit" and told["pipeline_tag"] == "image-segmentation"
    assert "| `mean_iou` | 0.25 |" in rest and "`iou`" not in rest and "resnet18, sees rgb" in rest
    content = json.loads((tmp_path / "model.json").read_text())
    assert content["units"] == "meters (0: no reading)" and content["modality"] == "depth"
    assert content["outputs"]["logits"] == ["batch", CLASSES, 32, 48]
    (tmp_path / "README.md").write_text(text.replace("license: other", "license: mit"))
    save(network, tmp_path, described, card)
    assert "license: mit" in (tmp_path / "README.md").read_text()


def test_files_are_read_as_in_the_run(tmp_path: Path) -> None:
    network, described, _ = make("depth-cnn")
    described = crdkit.deploy.describe(
        network,
        architecture="depth_cnn_half",
        modality="depth",
        shape=(1, 32, 48),
        class_names=NAMES,
        encoding={"unit": "mm"},
    )
    save(network, tmp_path / "a", described, Card("kd", 0))
    _, preprocess = crdkit.load(tmp_path / "a")
    millimeters = np.zeros((64, 96), np.uint16)
    millimeters[32:] = 2500
    import cv2

    cv2.imwrite(str(tmp_path / "depth.png"), millimeters)
    for source in (tmp_path / "depth.png", millimeters):
        depth = preprocess(source)
        assert depth.shape == (1, 32, 48) and depth.dtype == torch.float32
        assert depth[0, 0].eq(0).all() and depth[0, -1].eq(2.5).all()
    assert preprocess.batch([millimeters, millimeters]).shape == (2, 1, 32, 48)
    other = preprocess.with_settings(["depth.unit=kitti"], (16, 24))
    assert other(millimeters)[0, -1, 0] == pytest.approx(2500 / 256)
    assert other(millimeters).shape == (1, 16, 24)
    with pytest.raises(ValueError, match="rgb"):
        preprocess.with_settings(["rgb.unit=color"], None)
    with pytest.raises(ValueError, match="channels"):
        preprocess(np.zeros((8, 8, 3), np.float32))
