"""Features of a frozen network, and their map in the plane."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crdkit.data import PairedTensors
from crdkit.evaluation import Features, extract, tsne
from crdkit.models import DepthCNN, Outputs


class Small(nn.Module):
    """Everything in it would change in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.last = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(4, 6, 3, 2, 1))

    def forward(self, x: Tensor) -> Outputs:
        first = self.stem(x)
        second = self.last(first)
        return Outputs(None, (first, second), second.mean((2, 3)))


def images(count: int = 11) -> PairedTensors:
    rgb = torch.randint(0, 256, (count, 3, 12, 16), dtype=torch.uint8)
    return PairedTensors(rgb=rgb, label=torch.arange(count) % 3)


def test_embedding_and_maps_are_the_networks_own() -> None:
    network, data = Small().eval(), images()
    with torch.no_grad():
        outputs = network(data.__getitems__(range(11))["rgb"])
    wanted = {
        (None, None): outputs.embedding,
        (0, None): outputs.maps[0].flatten(1),
        (-1, 2): F.adaptive_avg_pool2d(outputs.maps[1], 2).flatten(1),
    }
    for (layer, grid), expected in wanted.items():
        found = extract(network, data, modality="rgb", layer=layer, grid=grid, batch_size=4)
        torch.testing.assert_close(found.vectors, expected)
        assert found.vectors.dtype == torch.float32 and found.label.tolist() == [i % 3 for i in range(11)]


def test_no_bit_and_no_flag_of_the_network_changes() -> None:
    network = Small().train()
    network.stem.eval()
    network.last[1].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    trainable = [parameter.requires_grad for parameter in network.parameters()]
    data, generator = images(), torch.get_rng_state()
    found = extract(network, data, modality="rgb", batch_size=4)
    assert not found.vectors.requires_grad
    assert torch.equal(torch.get_rng_state(), generator)
    assert [part.training for part in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == trainable
    assert network.state_dict().keys() == before.keys()
    for name, value in network.state_dict().items():
        assert value.numpy().tobytes() == before[name].numpy().tobytes()
    torch.testing.assert_close(extract(network.eval(), data, modality="rgb").vectors, found.vectors)


def test_half_precision_forward_gives_float32_near_to_the_exact() -> None:
    network, data = Small().eval(), images()
    exact, rounded = (
        extract(network, data, modality="rgb", autocast=half).vectors for half in (None, torch.bfloat16)
    )
    assert rounded.dtype == torch.float32 and not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.02)


def test_faults_are_named() -> None:
    network, data = Small(), images()
    with pytest.raises(ValueError, match=r"2.*2.*\(4, 6, 8\).*\(6, 3, 4\)"):
        extract(network, data, modality="rgb", layer=2)
    with pytest.raises(ValueError, match="grid"):
        extract(network, data, modality="rgb", grid=2)
    with pytest.raises(ValueError, match=r"grid.*1.*0"):
        extract(network, data, modality="rgb", layer=0, grid=0)
    with pytest.raises(KeyError, match="'depth'"):
        extract(network, data, modality="depth")
    with pytest.raises(TypeError, match="Outputs"):
        extract(network.stem, data, modality="rgb")
    with pytest.raises(ValueError, match=r"label.*\(2,\).*\(2, 4, 4\)"):
        batch = {"depth": torch.rand(2, 1, 4, 4), "label": torch.zeros(2, 4, 4)}
        extract(DepthCNN(widths=(4,), strides=(2,)), [batch], modality="depth")
    with pytest.raises(ValueError, match="no batch"):
        extract(network, [], modality="rgb")
    with torch.no_grad():
        network.last[1].bias[0] = torch.inf
    with pytest.raises(ValueError, match=r"0.*NaN"):
        extract(network, data, modality="rgb")


def test_tsne_keeps_far_clusters_apart_and_is_the_seeds() -> None:
    label = torch.arange(40) % 2
    features = Features(torch.randn(40, 5) + 100 * label[:, None], label)
    points = tsne(features, limit=30)
    assert points.vectors.shape == (30, 2) and points.label.shape == (30,)
    centers = torch.stack([points.vectors[points.label == i].mean(0) for i in range(2)])
    spread = (points.vectors - centers[points.label]).norm(dim=1).mean()
    assert (centers[0] - centers[1]).norm() > 2 * spread
    assert torch.equal(points.vectors, tsne(features, limit=30).vectors)
    assert not torch.equal(points.vectors, tsne(features, limit=30, seed=1).vectors)
    with pytest.raises(ValueError, match=r"4.*3"):
        tsne(features, limit=3)
