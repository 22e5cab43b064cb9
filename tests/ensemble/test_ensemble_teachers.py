"""Several teachers in one call."""

import copy

import pytest
import torch
from torch import nn

from crdkit.ensemble import EnsembleMean, Teachers, mean_logits
from crdkit.ensemble.teachers import alike
from crdkit.models import create


def test_members_of_one_architecture_are_found(members: list[nn.Module]) -> None:
    assert alike(members) == [[0, 2], [1]]


def test_batched_call_is_the_loop(members: list[nn.Module]) -> None:
    view = torch.rand(5, 3, 8, 8)
    loop, batched = Teachers(members, batched=False)(view), Teachers(members, batched=True)(view)
    assert len(loop) == len(batched) == 3
    for one, other in zip(loop, batched, strict=True):
        torch.testing.assert_close(other.logits, one.logits, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(other.embedding, one.embedding, rtol=1e-5, atol=1e-6)
        for a, b in zip(one.maps, other.maps, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(loop[0].logits, loop[2].logits)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV2"])
def test_batched_call_is_the_loop_for_the_benchmarks_networks(name: str) -> None:
    networks = [create(name, num_classes=5).eval() for _ in range(2)]
    view = torch.rand(2, 3, 32, 32)
    loop, batched = Teachers(networks, batched=False)(view), Teachers(networks, batched=True)(view)
    for one, other in zip(loop, batched, strict=True):
        torch.testing.assert_close(other.logits, one.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(other.embedding, one.embedding, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batched", [False, True])
def test_teachers_are_frozen_for_good(members: list[nn.Module], batched: bool) -> None:
    before = [copy.deepcopy(network.state_dict()) for network in members]
    teachers = Teachers(members, batched=batched).train()
    view = torch.rand(5, 3, 8, 8, requires_grad=True)
    for outputs in teachers(view):
        assert not outputs.logits.requires_grad
    members[0].train()  # somebody holding a member switches it back
    teachers(view)
    assert not any(p.requires_grad for p in teachers.parameters())
    for network, state in zip(members, before, strict=True):
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, state[name]), name


def test_mean_is_of_the_probabilities(members: list[nn.Module]) -> None:
    view = torch.rand(5, 3, 8, 8)
    expected = sum(network(view).logits.softmax(1) for network in members) / 3
    torch.testing.assert_close(EnsembleMean(Teachers(members))(view).logits.exp(), expected)
    certain = torch.tensor([[[1000.0, 0.0]], [[0.0, 0.0]]])
    torch.testing.assert_close(mean_logits(certain).exp(), torch.tensor([[0.75, 0.25]]))


def test_no_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one teacher"):
        Teachers([])
