"""Several frozen teachers, each of which sees its modality."""

import copy

import pytest
import torch
from torch import nn

from crdkit.models import create
from crdkit.transfer import Teacher, TeacherTargets, alike


def of_rgb(networks: list[nn.Module]) -> list[Teacher]:
    return [Teacher(network) for network in networks]


def test_teachers_of_one_architecture_and_modality_are_found(networks: list[nn.Module]) -> None:
    assert alike(networks, ["rgb"] * 3) == [[0, 2], [1]]
    assert alike(networks, ["rgb", "rgb", "thermal"]) == [[0], [1], [2]]


@pytest.mark.parametrize("batched", [False, True])
def test_each_teacher_sees_its_modality(networks: list[nn.Module], batched: bool) -> None:
    batch = {"rgb": torch.rand(5, 3, 8, 8), "thermal": torch.rand(5, 3, 8, 8)}
    teachers = [Teacher(networks[0], "thermal"), Teacher(networks[1]), Teacher(networks[2])]
    outputs = TeacherTargets(teachers, batched=batched)(batch)
    for teacher, found in zip(teachers, outputs, strict=True):
        expected = teacher.network(batch[teacher.modality])
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-5, atol=1e-6)


def test_batched_call_is_the_loop(networks: list[nn.Module]) -> None:
    batch = {"rgb": torch.rand(5, 3, 8, 8)}
    loop, batched = (TeacherTargets(of_rgb(networks), batched=b)(batch) for b in (False, True))
    assert len(loop) == len(batched) == 3
    for one, other in zip(loop, batched, strict=True):
        torch.testing.assert_close(other.logits, one.logits, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(other.embedding, one.embedding, rtol=1e-5, atol=1e-6)
        for a, b in zip(one.maps, other.maps, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(loop[0].logits, loop[2].logits)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV2"])
def test_batched_call_is_the_loop_for_the_benchmarks_networks(name: str) -> None:
    teachers = of_rgb([create(name, num_classes=5).eval() for _ in range(2)])
    batch = {"rgb": torch.rand(2, 3, 32, 32)}
    loop, batched = (TeacherTargets(teachers, batched=b)(batch) for b in (False, True))
    for one, other in zip(loop, batched, strict=True):
        torch.testing.assert_close(other.logits, one.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(other.embedding, one.embedding, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batched", [False, True])
def test_teachers_are_frozen_for_good(networks: list[nn.Module], batched: bool) -> None:
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    targets = TeacherTargets(of_rgb(networks), batched=batched).train()
    batch = {"rgb": torch.rand(5, 3, 8, 8, requires_grad=True)}
    for outputs in targets(batch):
        assert not outputs.logits.requires_grad
    for network in networks:
        network.train()  # somebody who holds the teachers switches them back
    targets(batch)
    assert not any(p.requires_grad for p in targets.parameters())
    for network, state in zip(networks, before, strict=True):
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, state[name]), name


def test_no_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher"):
        TeacherTargets([])
