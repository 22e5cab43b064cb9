"""Draws of negatives: what they may not contain, and that they are uniform over the rest."""

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from crdkit.contrast.negatives import OtherClass, draw_shared, draw_uniform


def is_uniform(draws: Tensor, allowed: Tensor) -> bool:
    """Pearson's test at the level 10^-4 of draws against equal frequencies over the allowed rows."""
    counts = torch.bincount(draws.flatten(), minlength=int(allowed.max()) + 1)
    assert counts.sum() == counts[allowed].sum(), "a row that is not allowed was drawn"
    expected = draws.numel() / len(allowed)
    statistic = ((counts[allowed] - expected) ** 2 / expected).sum().item()
    return bool(statistic < chi2.ppf(1 - 1e-4, len(allowed) - 1))


def test_uniform_over_all_other_rows() -> None:
    index = torch.tensor([0, 7, 19])
    drawn = draw_uniform(index, 20_000, 20)
    assert drawn.shape == (3, 20_000)
    for own, row in zip(index.tolist(), drawn, strict=True):
        assert is_uniform(row, torch.tensor([j for j in range(20) if j != own]))


def test_uniform_beyond_the_limit_of_multinomial() -> None:
    drawn = draw_uniform(torch.tensor([5]), 10_000, 2**33)
    assert drawn.max() >= 2**32 and drawn.min() >= 0


def test_shared_is_uniform() -> None:
    assert is_uniform(draw_shared(20_000, 20), torch.arange(20))


@pytest.mark.parametrize("seed", range(20))
def test_other_class_never_draws_the_class(seed: int) -> None:
    """Random data sets: few and many classes, of very different sizes, with any integers as names."""
    generator = torch.Generator().manual_seed(seed)
    num_classes = int(torch.randint(2, 9, (), generator=generator))
    weights = torch.rand(num_classes, generator=generator) ** 3 + 1e-3
    names = torch.randperm(1000, generator=generator)[:num_classes] - 500
    num_samples = int(torch.randint(num_classes, 200, (), generator=generator))
    labels = names[torch.multinomial(weights, num_samples, replacement=True, generator=generator)]
    labels[:2] = names[:2]
    index = torch.randint(num_samples, (16,), generator=generator)
    drawn = OtherClass(labels)(index, 500)
    assert drawn.shape == (16, 500)
    assert (labels[drawn] != labels[index].unsqueeze(1)).all()


def test_other_class_is_uniform_over_the_rest() -> None:
    labels = torch.tensor([3, 1, 1, 3, 9, 1, 9, 3, 1, 4])
    for own, drawn in enumerate(OtherClass(labels)(torch.arange(10), 20_000)):
        assert is_uniform(drawn, (labels != labels[own]).nonzero().squeeze(1))


def test_labels_of_the_call_go_before_those_of_the_data_set() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    drawn = OtherClass(labels)(torch.tensor([0, 0]), 200, torch.tensor([1, 2]))
    assert (labels[drawn[0]] != 1).all() and (labels[drawn[1]] != 2).all()
    assert (labels[drawn] == 0).any()


def test_bad_labels_are_named() -> None:
    with pytest.raises(ValueError, match=r"\[4\]"):
        OtherClass(torch.full((5,), 4))
    with pytest.raises(ValueError, match=r"labels.*torch.float32"):
        OtherClass(torch.rand(5))
