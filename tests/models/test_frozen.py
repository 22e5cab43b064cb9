"""Frozen networks, and measuring without leaving a trace."""

import pytest
import torch
from torch import Tensor, nn

from crdkit.models import DepthCNN, Frozen, Outputs, measure


def bits(module: nn.Module) -> list[bytes]:
    return [value.numpy().tobytes() for value in module.state_dict().values()]


def test_training_around_a_frozen_network_changes_no_bit_of_it() -> None:
    teacher = Frozen(DepthCNN(widths=(4, 6), strides=(2, 1)))
    parent = nn.ModuleDict({"teacher": teacher, "student": nn.Conv2d(1, 6, 2, 2)})
    before = bits(teacher)
    # Weight decay moves every parameter that an optimizer may move, gradient or none of use.
    optimizer = torch.optim.SGD(parent.parameters(), lr=0.1, weight_decay=0.1)
    student_before = bits(parent["student"])
    for _ in range(3):
        parent.train()
        x = torch.randn(4, 1, 8, 8)
        loss = (parent["student"](x).mean((2, 3)) - teacher(x).embedding).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert bits(teacher) == before
    assert bits(parent["student"]) != student_before


def test_it_stays_in_eval_without_gradients() -> None:
    inner = DepthCNN(widths=(4,), strides=(2,))
    frozen = Frozen(inner)
    assert not any(p.requires_grad for p in frozen.parameters())
    frozen.train()
    assert not any(part.training for part in frozen.modules())
    inner.train()  # behind its back
    before = bits(frozen)
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    assert not frozen(x).embedding.requires_grad
    assert bits(frozen) == before and not inner.training


def test_a_part_that_trains_or_is_put_in_later_is_found() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.BatchNorm2d(2)))
    inner[0].register_module("none", None)
    frozen, x = Frozen(inner), torch.randn(2, 1, 4, 4)
    inner[1][0].train()
    for _ in range(2):
        before = bits(frozen)
        frozen(x)
        assert bits(frozen) == before and not any(part.training for part in frozen.modules())
        inner[1][0] = nn.BatchNorm2d(2)


class Noisy(nn.Module):
    """Has everything that a careless dry forward would disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.batch_norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x: Tensor) -> Outputs:
        x = self.batch_norm(self.norm(x)) + torch.rand_like(x)
        return Outputs(None, (x,), x.mean((2, 3)))


def test_measuring_leaves_statistics_generator_and_modes_alone() -> None:
    network = Noisy()
    network.train()
    network.norm.eval()
    before, generator = bits(network), torch.get_rng_state()
    dimensions = measure(network, (3, 4, 5))
    assert dimensions == (((3, 4, 5),), 3, None, 0)
    assert bits(network) == before
    assert torch.equal(torch.get_rng_state(), generator)
    assert network.training and network.batch_norm.training and not network.norm.training


def test_measuring_asks_for_a_size_and_for_outputs() -> None:
    with pytest.raises(ValueError, match=r"\(3, 0, 5\)"):
        measure(Noisy(), (3, 0, 5))
    with pytest.raises(TypeError, match=r"Conv2d.*crdkit\.models\.FeatureExtractor"):
        measure(nn.Conv2d(3, 4, 1), (3, 4, 5))
