"""Calibration and diversity against plain loops."""

import math

import pytest
import torch
from torch import Tensor

from crdkit.evaluation import calibration_error, disagreement, divergence


def naive_calibration_error(p: Tensor, label: Tensor, bins: int) -> float:
    total = 0.0
    for k in range(bins):
        inside = []
        for row, y in zip(p.tolist(), label.tolist(), strict=True):
            confidence = max(row)
            if k / bins < confidence <= (k + 1) / bins:
                inside.append((row.index(confidence) == y, confidence))
        if inside:
            accuracy = sum(right for right, _ in inside) / len(inside)
            confidence = sum(c for _, c in inside) / len(inside)
            total += len(inside) / len(label) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_is_the_naive_one(bins: int) -> None:
    p = (2 * torch.randn(200, 5, dtype=torch.float64)).softmax(1)
    label = torch.randint(5, (200,))
    found = calibration_error(p, label, bins=bins)
    assert found == pytest.approx(naive_calibration_error(p, label, bins), rel=1e-12)


def test_calibration_error_of_limit_cases() -> None:
    label = torch.tensor([0, 1, 0, 1])
    certain = torch.tensor([[1.0, 0.0]]).expand(4, 2)
    assert calibration_error(certain, label) == pytest.approx(0.5)
    assert calibration_error(torch.eye(2)[label], label) == 0
    assert calibration_error(torch.full((4, 2), 0.5), label) == pytest.approx(0.0)


def test_calibration_error_refuses_what_is_no_probability() -> None:
    label = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"softmax\(logits\)"):
        calibration_error(torch.tensor([[3.0, -2.0], [0.0, 1.0]]), label)
    with pytest.raises(ValueError, match=r"got \(2, 2\) and \(3,\)"):
        calibration_error(torch.full((2, 2), 0.5), torch.zeros(3))
    with pytest.raises(ValueError, match=r"got \(0, 2\)"):
        calibration_error(torch.empty(0, 2), torch.empty(0))


def test_diversity_is_the_naive_one() -> None:
    logits = 3 * torch.randn(3, 20, 4, dtype=torch.float64)
    p = logits.softmax(2)
    apart, kl = disagreement(logits), divergence(logits)
    for i in range(3):
        for j in range(3):
            named = [(p[i, m].argmax() != p[j, m].argmax()).item() for m in range(20)]
            assert apart[i, j] == pytest.approx(sum(named) / 20)
            terms = [
                sum(a * (math.log(a) - math.log(b)) for a, b in zip(p[i, m], p[j, m], strict=True))
                for m in range(20)
            ]
            assert kl[i, j] == pytest.approx(float(sum(terms)) / 20, abs=1e-12)


def test_diversity_of_equal_members_is_zero_and_survives_certainty() -> None:
    logits = torch.randn(1, 6, 3).expand(2, 6, 3)
    assert disagreement(logits).abs().max() == 0
    assert divergence(logits).abs().max() < 1e-12
    certain = torch.tensor([[[1000.0, 0.0]], [[0.0, 1000.0]]])
    assert divergence(certain).isfinite().all()
    with pytest.raises(ValueError, match=r"\(N, M, C\)"):
        divergence(torch.zeros(2, 3))
