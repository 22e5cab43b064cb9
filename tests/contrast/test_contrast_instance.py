"""The instance contrast: naive loops, gradients, identities, bad input."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from crdkit.contrast import ContrastConfig, InstanceContrast
from crdkit.contrast.negatives import draw_shared, draw_uniform

M, D, K, TAU = 12, 4, 6, 0.5
INDEX = torch.tensor([3, 0, 8])
LABELS = torch.arange(M) % 3
objectives = pytest.mark.parametrize("objective", ["nce", "infonce"])
everything = pytest.mark.parametrize(
    "negatives",
    [
        "uniform",
        "other_class",
        "other_group",
        "shared",
        "shared_other_class",
        "shared_other_group",
        "all",
        "batch",
    ],
)


def make(negatives: str = "uniform", objective: str = "nce", **options: Any) -> InstanceContrast:
    options = {"num_negatives": K, "temperature": TAU, **options}
    known = {
        "labels": LABELS if negatives.endswith("other_class") else None,
        "groups": LABELS if negatives.endswith("other_group") else None,
    }
    config = ContrastConfig(D, objective=objective, negatives=negatives, **options)
    return InstanceContrast(M, config, **known).double()


@objectives
@pytest.mark.parametrize("negatives", ["uniform", "other_class", "shared", "explicit"])
def test_equals_naive_loops(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str, negatives: str
) -> None:
    z_s, z_t = unit(3, D), unit(3, D)
    explicit = torch.tensor([[1, 2, 2, 5, 6, 7], [11, 4, 5, 6, 1, 1], [0, 1, 2, 3, 4, 5]])
    contrast = make("uniform" if negatives == "explicit" else negatives, objective)
    torch.manual_seed(1)
    value = contrast(z_s, z_t, INDEX, negative_index=explicit if negatives == "explicit" else None)
    torch.manual_seed(1)
    if negatives == "uniform":
        rows = draw_uniform(INDEX, K, M)
    elif negatives == "shared":
        rows = draw_shared(K, M).expand(3, -1)
    elif negatives == "other_class":
        assert contrast.sampler.others is not None
        rows = contrast.sampler.others(INDEX, K)
    else:
        rows = explicit
    rule = {"objective": objective, "temperature": TAU, "num_samples": M, "num_negatives": K}
    expected = naive.direction(
        naive.bank_pairs(z_s, contrast.bank_teacher.rows, INDEX, rows), **rule
    ) + naive.direction(naive.bank_pairs(z_t, contrast.bank_student.rows, INDEX, rows), **rule)
    assert value.item() == pytest.approx(expected, rel=1e-6)


@objectives
def test_shared_negatives_of_other_classes_equal_naive_loops(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str
) -> None:
    z_s, z_t = unit(3, D), unit(3, D)
    contrast = make("shared_other_class", objective)
    torch.manual_seed(1)
    value = contrast(z_s, z_t, INDEX)
    torch.manual_seed(1)
    drawn = draw_shared(K, M).tolist()
    rows = [[j for j in drawn if LABELS[j] != LABELS[i]] for i in INDEX.tolist()]
    assert len({len(row) for row in rows}) > 1  # a class that was drawn more often leaves fewer
    rule = {"objective": objective, "temperature": TAU, "num_samples": M, "num_negatives": K}
    expected = 0.0
    for z, bank in ((z_s, contrast.bank_teacher.rows), (z_t, contrast.bank_student.rows)):
        pairs = []
        for b, i in enumerate(INDEX.tolist()):
            scores = [naive.score(z[b], bank[j]) for j in (i, *rows[b])]
            pairs.append((scores[0], scores[1:]))
        expected += naive.direction(pairs, **rule)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    torch.manual_seed(1)
    given = contrast(z_s, z_t, INDEX, labels=LABELS[INDEX])
    torch.testing.assert_close(given, value)


@objectives
@pytest.mark.parametrize("index", [[3, 0, 8], [3, 3, 8]], ids=["distinct", "repeated"])
def test_batch_equals_naive_loops(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str, index: list[int]
) -> None:
    z_s, z_t = unit(3, D), unit(3, D)
    value = make("batch", objective)(z_s, z_t, torch.tensor(index))
    rule = {"objective": objective, "temperature": TAU, "num_samples": M, "num_negatives": 2}
    expected = naive.direction(naive.batch_pairs(z_s, z_t, index), **rule) + naive.direction(
        naive.batch_pairs(z_t, z_s, index), **rule
    )
    assert value.item() == pytest.approx(expected, rel=1e-6)


@objectives
def test_all_is_the_limit_of_uniform(naive: ModuleType, unit: Callable[..., Tensor], objective: str) -> None:
    """With K a multiple of M − 1, `all` equals drawing every other row equally often."""
    z_s, z_t = unit(3, D), unit(3, D)
    contrast = make("all", objective, num_negatives=2 * (M - 1))
    every = torch.tensor([[j for j in range(M) if j != i] * 2 for i in INDEX.tolist()])
    reference = make("uniform", objective, num_negatives=2 * (M - 1))
    reference.load_state_dict(contrast.state_dict())
    torch.testing.assert_close(contrast(z_s, z_t, INDEX), reference(z_s, z_t, INDEX, negative_index=every))


def test_all_is_the_mean_of_many_uniform_draws(unit: Callable[..., Tensor]) -> None:
    """Loss and gradient of NCE; each of their entries within 4.5 standard errors."""
    z_s, z_t = unit(3, D), unit(3, D)
    contrast = make("all")
    uniform = make("uniform")
    contrast(z_s, z_t, INDEX)  # fixes Z
    uniform.load_state_dict(contrast.state_dict())

    def value_and_gradient(loss: InstanceContrast) -> Tensor:
        value = loss(z_s, z_t, INDEX)
        return torch.cat(
            [value.detach().reshape(1), *(g.flatten() for g in torch.autograd.grad(value, (z_s, z_t)))]
        )

    draws = torch.stack([value_and_gradient(uniform) for _ in range(500)])
    error = (draws.mean(0) - value_and_gradient(contrast)).abs()
    assert (error < 4.5 * draws.std(0) / 500**0.5 + 1e-12).all()


@objectives
@everything
def test_gradcheck(unit: Callable[..., Tensor], objective: str, negatives: str) -> None:
    z_s, z_t = unit(3, D), unit(3, D)
    contrast = make(negatives, objective)
    contrast(z_s, z_t, INDEX)  # fixes Z, of which no gradient is taken

    def value(z_s: Tensor, z_t: Tensor) -> Tensor:
        torch.manual_seed(2)
        return contrast(z_s, z_t, INDEX)

    assert torch.autograd.gradcheck(value, (z_s, z_t))


@objectives
def test_the_order_of_negatives_is_all_one(unit: Callable[..., Tensor], objective: str) -> None:
    z_s, z_t = unit(3, D), unit(3, D)
    contrast = make(objective=objective)
    rows = draw_uniform(INDEX, K, M)
    torch.testing.assert_close(
        contrast(z_s, z_t, INDEX, negative_index=rows),
        contrast(z_s, z_t, INDEX, negative_index=rows.flip(1)),
    )


@objectives
@everything
def test_save_load_step_equals_step_step(unit: Callable[..., Tensor], objective: str, negatives: str) -> None:
    first, second = (unit(3, D), unit(3, D)), (unit(3, D), unit(3, D))
    contrast, resumed = make(negatives, objective), make(negatives, objective)
    contrast(*first, INDEX)
    contrast.update(INDEX, *first)
    resumed.load_state_dict(contrast.state_dict())
    values = []
    for each in (contrast, resumed):
        torch.manual_seed(3)
        values.append(each(*second, INDEX + 1))
        each.update(INDEX + 1, *second)
    assert torch.equal(*values)
    for a, b in zip(contrast.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_state_from_before_the_first_batch_opens_z_again(unit: Callable[..., Tensor]) -> None:
    contrast = make()
    fresh = {name: value.clone() for name, value in contrast.state_dict().items()}
    contrast(unit(3, D), unit(3, D), INDEX)
    z_s, z_t = unit(3, D), unit(3, D)
    contrast.load_state_dict(fresh)
    torch.manual_seed(4)
    value = contrast(z_s, z_t, INDEX)
    twin = make()
    twin.load_state_dict(fresh)
    torch.manual_seed(4)
    assert torch.equal(value, twin(z_s, z_t, INDEX))


def test_update_touches_only_the_rows_of_the_batch(unit: Callable[..., Tensor]) -> None:
    contrast = make()
    before = contrast.bank_student.rows.clone()
    contrast.update(INDEX, unit(3, D), unit(3, D))
    changed = (contrast.bank_student.rows != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == sorted(INDEX.tolist())


@objectives
@everything
def test_one_sample_alone(unit: Callable[..., Tensor], objective: str, negatives: str) -> None:
    z_s, z_t = unit(1, D), unit(1, D)
    contrast = make(negatives, objective)
    value = contrast(z_s, z_t, INDEX[:1])
    value.backward()
    contrast.update(INDEX[:1], z_s, z_t)
    assert value.isfinite() and z_s.grad.isfinite().all() and z_t.grad.isfinite().all()
    if negatives == "batch" and objective == "infonce":
        assert value == 0 and (z_s.grad == 0).all()
    if negatives == "batch" and objective == "nce":
        # A batch without a noise pair does not fix Z.
        assert not contrast.critic_student.partition.fixed


PUBLISHED = ("uniform", True, 16384)


@pytest.mark.parametrize(
    ("num_samples", "given", "expected"),
    [
        (256, {}, ("batch", False, 16384)),
        (16383, {}, ("batch", False, 16384)),
        (16384, {}, PUBLISHED),
        (50_000, {}, PUBLISHED),
        (1_281_167, {}, PUBLISHED),
        (256, {"num_negatives": 16384}, PUBLISHED),
        (256, {"num_negatives": 32}, ("uniform", True, 32)),
        (256, {"objective": "nce"}, PUBLISHED),
        (256, {"objective": "infonce"}, ("uniform", False, 16384)),
        (256, {"negatives": "uniform"}, PUBLISHED),
        (256, {"negatives": "batch"}, ("batch", True, 16384)),
    ],
)
def test_few_samples_left_to_the_loss_are_contrasted_within_the_batch(
    num_samples: int, given: dict[str, Any], expected: tuple[str, bool, int]
) -> None:
    contrast = InstanceContrast(num_samples, ContrastConfig(1, **given))
    is_nce = contrast.critic_student.partition is not None
    assert (contrast.config.negatives, is_nce, contrast.config.num_negatives) == expected


@everything
def test_more_negatives_than_samples(unit: Callable[..., Tensor], negatives: str) -> None:
    assert make(negatives, num_negatives=5 * M)(unit(3, D), unit(3, D), INDEX).isfinite()


@everything
def test_a_row_out_of_range_is_named(unit: Callable[..., Tensor], negatives: str) -> None:
    contrast = make(negatives)
    for index, bad in ((torch.tensor([3, 12, 8]), 12), (torch.tensor([3, -1, 8]), -1)):
        with pytest.raises(IndexError, match=rf"index.*\[0.*12\).*{bad}"):
            contrast(unit(3, D), unit(3, D), index)
        with pytest.raises(IndexError, match=rf"got {bad}"):
            contrast.update(index, unit(3, D), unit(3, D))


def test_bad_arguments_are_named(unit: Callable[..., Tensor]) -> None:
    for options, message in [
        ({"temperature": -0.1}, "temperature must be positive, got -0.1"),
        ({"num_negatives": 0}, "num_negatives must be at least 1, got 0"),
        ({"momentum": 1.5}, r"momentum must be in \[0, 1\), got 1.5"),
        ({"objective": "triplet"}, "objective must be one of nce, infonce, relational, none, got 'triplet'"),
        ({"negatives": "hard"}, "negatives must be one of .*, got 'hard'"),
        ({"negatives": "other_class"}, "needs labels"),
    ]:
        with pytest.raises(ValueError, match=message):
            InstanceContrast(M, ContrastConfig(D, **options))
    with pytest.raises(ValueError, match="labels must hold 12 classes, one per sample, got 5"):
        InstanceContrast(M, ContrastConfig(D), labels=LABELS[:5])
    with pytest.raises(ValueError, match=r"got \(3, 4\), \(2, 4\), \(3,\)"):
        make()(unit(3, D), unit(2, D), INDEX)
    with pytest.raises(ValueError, match=r"negative_index.*\(3, K\).*0.*\(2, 6\)"):
        make()(unit(3, D), unit(3, D), INDEX, negative_index=torch.zeros(2, 6, dtype=torch.int64))
    with pytest.raises(ValueError, match="bank"):
        make("batch")(unit(3, D), unit(3, D), INDEX, negative_index=torch.zeros(3, 6, dtype=torch.int64))
