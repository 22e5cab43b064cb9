"""Published checkpoints, and the published outputs of every CIFAR network.

`reference/models.json` was made by running the published code: names and shapes of each network's state, and
for a fixed input and a fixed filling of that state the means and standard deviations of its features (the
maps, then the embedding) and its logits.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crdkit.models import create, load_repdistiller
from crdkit.models.cifar import NETWORKS

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "models.json").read_text())


def filled(keys: list[tuple[str, list[int]]]) -> dict[str, Tensor]:
    """The state that the reference was made with: entry k from the generator of seed k."""
    state = {}
    for k, (name, shape) in enumerate(keys):
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
            continue
        draw = torch.from_numpy(np.random.RandomState(k).standard_normal(shape))
        if len(shape) > 1:
            value = draw * 0.7 * (2 / draw[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            value = 1 + 0.05 * draw.abs()
        else:
            value = name.endswith("weight") + 0.05 * draw
        state[name] = value.float()
    return state


@pytest.mark.parametrize("name", REFERENCE)
def test_published_checkpoints_give_the_published_outputs(tmp_path, name: str) -> None:
    expected = REFERENCE[name]
    path = tmp_path / "ckpt_epoch_240.pth"
    accuracy = torch.tensor(70.0)
    torch.save({"epoch": 240, "model": filled(expected["keys"]), "accuracy": accuracy}, path)
    network = load_repdistiller(path)
    path.unlink()

    assert not network.training
    assert [[key, list(t.shape)] for key, t in network.state_dict().items()] == expected["keys"]
    assert sum(p.numel() for p in network.parameters()) == expected["parameters"]
    with torch.no_grad():
        outputs = network(torch.sin(0.01 * torch.arange(2 * 3 * 32 * 32)).reshape(2, 3, 32, 32))
    features = [*outputs.maps, outputs.embedding]
    assert [list(f.shape) for f in features] == expected["feature_shapes"]
    for feature, mean, std in zip(features, expected["feature_mean"], expected["feature_std"], strict=True):
        assert float(feature.mean()) == pytest.approx(mean, abs=1e-5 * std)
        assert float(feature.std()) == pytest.approx(std, rel=1e-5)
    logits = torch.tensor(expected["logits"])
    torch.testing.assert_close(outputs.logits, logits, rtol=1e-4, atol=1e-5 * float(logits.abs().max()))


def test_the_reference_has_every_network() -> None:
    assert list(REFERENCE) == list(NETWORKS)


def test_classes_and_channels_come_from_the_file(tmp_path) -> None:
    source = create("wrn_16_1", num_classes=10, in_channels=1)
    parallel = {f"module.{key}": t for key, t in source.state_dict().items()}
    # As the published trainer writes its last epoch, and as torch 1.0 wrote files.
    torch.save(
        {"opt": argparse.Namespace(lr=0.05, lr_decay_epochs=[150, 180, 210]), "model": parallel},
        tmp_path / "last.pth",
        _use_new_zipfile_serialization=False,
    )
    network = load_repdistiller(tmp_path / "last.pth")
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(network(x).logits, source.eval()(x).logits)
    assert network(x).logits.shape == (2, 10)


def test_loading_leaves_the_generator_alone(tmp_path) -> None:
    torch.save({"model": create("resnet8").state_dict()}, tmp_path / "w.pth")
    before = torch.get_rng_state()
    load_repdistiller(tmp_path / "w.pth")
    assert torch.equal(torch.get_rng_state(), before)


def test_other_networks_are_answered_with_the_nearest(tmp_path) -> None:
    state = create("resnet20").state_dict()
    del state["layer2.1.bn1.bias"]
    state["layer3.0.conv1.weight"] = torch.zeros(64, 32, 1, 1)
    torch.save({"model": state}, tmp_path / "cut.pth")
    with pytest.raises(ValueError) as caught:
        load_repdistiller(tmp_path / "cut.pth")
    message = str(caught.value)
    assert "cut.pth is none of the 22 published networks (nearest: resnet20, resnet" in message
    assert "does not fit ResNet; missing: layer2.1.bn1.bias; shapes: layer3.0.conv1.weight" in message

    torch.save({"model": create("torchvision/squeezenet1_1").state_dict()}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth.*22.*features\.0\.weight"):
        load_repdistiller(tmp_path / "other.pth")
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        load_repdistiller(tmp_path / "absent.pth")


class Planted:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("zipped", [True, False])
def test_planted_code_is_refused_and_does_not_run(tmp_path, zipped: bool) -> None:
    content = {"model": create("resnet8").state_dict(), "opt": Planted(tmp_path / "ran")}
    torch.save(content, tmp_path / "teacher.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"teacher\.pth"):
        load_repdistiller(tmp_path / "teacher.pth")
    assert not (tmp_path / "ran").exists()
