"""The critic's figures, and the warnings of one that learns nothing."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crdkit.contrast import (
    ContrastConfig,
    CRDLoss,
    DenseContrast,
    InstanceContrast,
    LocalGlobalContrast,
    Monitor,
)
from crdkit.contrast.monitor import compare, constant_loss, count_negatives

D, M = 4, 24
NEGATIVES = (
    "uniform",
    "other_class",
    "other_group",
    "shared",
    "shared_other_class",
    "shared_other_group",
    "all",
    "batch",
)


def test_figures_equal_naive_loops(unit: Callable[..., Tensor]) -> None:
    z, positive, noise = unit(3, D).detach(), unit(3, D).detach(), unit(5, D).detach()
    z[0] = torch.eye(D)[0]  # its scores are exact in any order of summation
    noise[4] = positive[0]  # another sample's: a tie with the first positive
    owner, candidate_ids = torch.tensor([3, 0, 3]), torch.tensor([3, 1, 0, 0, 2])
    true = [float(a @ b) for a, b in zip(z, positive, strict=True)]
    scores, right = [], []
    for a in range(3):
        for b in range(5):
            if owner[a] != candidate_ids[b]:
                scores.append(float(z[a] @ noise[b]))
                right.append(0.5 if a == 0 and b == 4 else float(scores[-1] < true[a]))
    found = compare(z, positive, noise, owner, candidate_ids)
    expected = torch.tensor([sum(true) / 3, sum(scores) / len(scores), sum(right) / len(right)]).double()
    torch.testing.assert_close(found, expected)


def test_a_part_of_many_vectors_is_looked_at() -> None:
    z = F.normalize(torch.randn(2000, D), dim=1)
    owner = torch.arange(2000)
    true, noise, accuracy = compare(z, z, z, owner, owner).tolist()
    assert true == pytest.approx(1) and noise == pytest.approx(0, abs=0.05) and accuracy == 1


def test_the_constant_critic() -> None:
    """Its loss is the least of log-losses of one probability: σ = 1/(K+1) of a pair to be true."""
    assert constant_loss(63, "nce") == pytest.approx(10.30, abs=0.005)
    for count in (1.0, 7.5, 16384.0):
        p = 1 / (count + 1)
        assert constant_loss(count, "nce") == pytest.approx(2 * (-math.log(p) - count * math.log(1 - p)))
        assert constant_loss(count, "infonce") == pytest.approx(-2 * math.log(p))


def test_noise_pairs_are_counted() -> None:
    noise, owner = torch.zeros(6, D), torch.tensor([1, 2])
    assert count_negatives(noise, anchor_ids=owner) == 5
    assert count_negatives(noise, columns=torch.zeros(2, 9, dtype=torch.int64)) == 9
    assert count_negatives(noise, anchor_ids=owner, candidate_ids=torch.tensor([1, 1, 2, 3, -1, -1])) == 2.5


def contrast_of(negatives: str, objective: str = "nce", **options: Any) -> InstanceContrast:
    ids = torch.arange(M) % 4
    return InstanceContrast(
        M,
        ContrastConfig(D, objective=objective, negatives=negatives, **options),
        labels=ids if negatives.endswith("other_class") else None,
        groups=ids if negatives.endswith("other_group") else None,
    )


def steps(
    contrast: InstanceContrast, number: int, vectors: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> list:
    """The warnings of so many steps of 8 samples."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(number):
            index = torch.randperm(M)[:8]
            z_s, z_t = vectors(index)
            contrast(z_s, z_t, index)
            contrast.update(index, z_s, z_t)
    return told


def constant(index: Tensor) -> tuple[Tensor, Tensor]:
    z = torch.tensor([[0.6, 0.8, 0, 0]]).expand(len(index), -1)
    return z + 1e-4 * torch.randn(len(index), D), z + 1e-4 * torch.randn(len(index), D)


@pytest.mark.parametrize("objective", ["nce", "infonce"])
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_a_constant_critic_is_told_once(objective: str, negatives: str) -> None:
    contrast = contrast_of(negatives, objective)
    told = steps(contrast, 160, constant)
    assert len(told) == 1 and told[0].category is UserWarning and "constant" in str(told[0].message)
    found = contrast.diagnostics()
    assert found["true_score"] == pytest.approx(1, abs=0.01)
    assert found["noise_score"] == pytest.approx(1, abs=0.01)
    assert found["critic_accuracy"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("objective", ["nce", "infonce"])
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_a_critic_that_knows_is_not(objective: str, negatives: str) -> None:
    z = F.normalize(torch.randn(M, D), dim=1)
    contrast = contrast_of(negatives, objective)
    assert not steps(contrast, 120, lambda index: (z[index], z[index]))
    found = contrast.diagnostics()
    assert set(found) == {"true_score", "noise_score", "critic_accuracy"}
    assert found["true_score"] == pytest.approx(1, abs=1e-4) and found["noise_score"] < 0.5
    assert found["critic_accuracy"] == 1


def test_eval_mode_takes_nothing_in() -> None:
    contrast = contrast_of("uniform").eval()
    assert not steps(contrast, 120, constant) and contrast.diagnostics() == {}


def test_two_epochs_are_waited_for() -> None:
    monitor = Monitor("nce", num_samples=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(200):
            monitor.record(torch.tensor(10.3), torch.tensor([0.0, 0.0, 0.5]), 9, lambda: 63)
    with pytest.warns(UserWarning, match=r"10\.30"):
        for _ in range(50):
            monitor.record(torch.tensor(10.3), torch.tensor([0.0, 0.0, 0.5]), 9, lambda: 63)


@pytest.mark.parametrize("accuracy", [0.5, 0.9])
def test_the_age_shortcut(accuracy: float) -> None:
    """The loss falls, but the batch's own pairs are told apart no better than by a coin."""
    monitor = Monitor("nce")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(120):
            monitor.record(torch.tensor(4.0), torch.tensor([0.3, 0.3, accuracy]), 8, lambda: 63)
    assert [("queue" in str(w.message), "4.00" in str(w.message)) for w in told] == [(True, True)] * (
        accuracy == 0.5
    )


def test_old_queues_against_young_pairs() -> None:
    """Each step all vectors share a direction, and the next step another: the queue is told by its age."""
    for contrast in (DenseContrast(64, queue_size=256), LocalGlobalContrast(64, queue_size=64)):
        directions = torch.eye(64)
        with pytest.warns(UserWarning, match="queue"):
            for step in range(50):
                z = directions[step].reshape(1, 64, 1, 1).expand(4, -1, 2, 2)
                z_s, z_t = (F.normalize(z + 1e-3 * torch.randn(4, 64, 2, 2), dim=1) for _ in range(2))
                index = torch.arange(4)
                if isinstance(contrast, DenseContrast):
                    contrast(z_s, z_t, index)
                    contrast.update(index, z_s, z_t)
                else:
                    globals_ = z_s[:, :, 0, 0], z_t[:, :, 0, 0]
                    contrast(z_s, globals_[0], z_t, globals_[1], index)
                    contrast.update(index, *globals_)
        assert contrast.diagnostics()["critic_accuracy"] == pytest.approx(0.5, abs=0.1)


def test_running_means_and_their_state() -> None:
    monitor, resumed = Monitor("nce"), Monitor("nce")
    assert monitor.figures() == {}
    monitor.record(torch.tensor(3.0), torch.tensor([0.4, 0.2, 0.8]), 8, lambda: 7)
    monitor.record(torch.tensor(math.nan), torch.tensor([0.0, 0.0, 0.0]), 8, lambda: 7)  # passed over
    monitor.record(torch.tensor(1.0), torch.tensor([0.8, 0.0, 0.6]), 8, lambda: 7)
    assert monitor.figures() == pytest.approx({"true_score": 0.6, "noise_score": 0.1, "critic_accuracy": 0.7})
    resumed.load_state_dict(monitor.state_dict())
    for each in (monitor, resumed):
        each.record(torch.tensor(2.0), torch.tensor([0.1, 0.2, 0.9]), 8, lambda: 7)
    assert resumed.figures() == monitor.figures()
    for _ in range(400):
        monitor.record(torch.tensor(2.0), torch.tensor([0.1, 0.2, 0.9]), 8, lambda: 7)
    assert monitor.figures() == pytest.approx(
        {"true_score": 0.1, "noise_score": 0.2, "critic_accuracy": 0.9}, abs=1e-5
    )


def test_states_of_earlier_releases_load() -> None:
    crd = CRDLoss(6, 6, M, embed_dim=D, num_negatives=8)
    old = {name: x for name, x in crd.state_dict().items() if "monitor" not in name}
    crd(torch.randn(3, 6), torch.randn(3, 6), torch.arange(3))
    assert crd.diagnostics()
    crd.load_state_dict(old)
    assert crd.diagnostics() == {}
    with pytest.raises(RuntimeError, match="rows"):
        crd.load_state_dict({name: x for name, x in old.items() if "bank_student" not in name})
