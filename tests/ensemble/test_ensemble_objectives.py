"""Objectives of several teachers against plain loops, and against those of one teacher."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest
import torch
from torch import Tensor, nn

from crdkit.distillers import METHODS, Context, Pair, build_terms, kd
from crdkit.ensemble import ensemble_kd, methods_of_many, soft_targets
from crdkit.models import Outputs

ALL = methods_of_many()
PairsOf: TypeAlias = Callable[[nn.Module, Sequence[nn.Module]], list[Pair]]


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def naive_targets(logits: Tensor, temperature: float, target: str, label: Tensor) -> list[list[float]]:
    n, batch, classes = logits.shape
    found = []
    for b in range(batch):
        rows = [logits[i, b].tolist() for i in range(n)]
        if target == "logits":
            found.append(softmax([sum(row[c] for row in rows) / n for c in range(classes)], temperature))
            continue
        weights = [1 / n] * n
        if target == "weighted":
            sure = [softmax(row, 1.0)[label[b]] for row in rows]
            weights = [value / sum(sure) for value in sure]
        soft = [softmax(row, temperature) for row in rows]
        found.append([sum(w * p[c] for w, p in zip(weights, soft, strict=True)) for c in range(classes)])
    return found


@pytest.mark.parametrize("target", ["mean", "logits", "weighted"])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_targets_and_their_loss_are_the_naive_ones(target: str, temperature: float) -> None:
    teachers, student = 3 * torch.randn(3, 5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    label = torch.tensor([0, 3, 1, 2, 2])
    expected = naive_targets(teachers, temperature, target, label)
    found = soft_targets(teachers, temperature=temperature, target=target, label=label)
    torch.testing.assert_close(found.exp(), torch.tensor(expected, dtype=torch.float64))
    loss = 0.0
    for b in range(5):
        q = softmax(student[b].tolist(), temperature)
        loss += sum(p * math.log(p / q_c) for p, q_c in zip(expected[b], q, strict=True))
    loss *= temperature**2 / 5
    result = ensemble_kd(student, teachers, temperature=temperature, target=target, label=label)
    assert float(result) == pytest.approx(loss, rel=1e-10)


@pytest.mark.parametrize("target", ["mean", "logits", "weighted"])
def test_one_teacher_is_plain_distillation_bit_for_bit(target: str) -> None:
    student, teacher, label = torch.randn(6, 4), 3 * torch.randn(6, 4), torch.randint(4, (6,))
    assert torch.equal(
        ensemble_kd(student, teacher[None], target=target, label=label), kd(student, teacher, temperature=4.0)
    )


def test_gradients_of_the_mean_are_those_of_the_mean_of_the_losses() -> None:
    student = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    teachers = torch.randn(3, 6, 4, dtype=torch.float64)
    (together,) = torch.autograd.grad(ensemble_kd(student, teachers), student)
    (apart,) = torch.autograd.grad(sum(kd(student, t, temperature=4.0) for t in teachers) / 3, student)
    torch.testing.assert_close(together, apart)


def test_gradcheck() -> None:
    teachers, label = torch.randn(2, 3, 4, dtype=torch.float64), torch.tensor([0, 2, 1])
    student = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for target in ("mean", "logits", "weighted"):
        assert torch.autograd.gradcheck(
            lambda s, target=target: ensemble_kd(s, teachers, target=target, label=label), (student,)
        )


def test_a_sure_teacher_counts_more_when_weighted() -> None:
    teachers = torch.tensor([[[9.0, 0.0]], [[0.0, 0.0]]])
    by_weight = soft_targets(teachers, temperature=1.0, target="weighted", label=torch.tensor([0])).exp()
    plain = soft_targets(teachers, temperature=1.0).exp()
    assert by_weight[0, 0] > plain[0, 0]
    against = soft_targets(teachers, temperature=1.0, target="weighted", label=torch.tensor([1])).exp()
    assert against[0, 1] > plain[0, 1]
    with pytest.raises(ValueError, match="`weighted` with labels"):
        soft_targets(teachers, temperature=1.0, target="weighted")


def batch_of(student: nn.Module, teachers: list[nn.Module]) -> tuple[Outputs, tuple[Outputs, ...], Context]:
    index = torch.tensor([3, 17, 0, 39])
    view = torch.rand(4, 3, 8, 8)
    with torch.no_grad():
        targets = tuple(teacher(view) for teacher in teachers)
    return student(view), targets, Context(index, index % 4)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"kd-logits", "kd-weighted"}))
def test_terms_of_many_are_the_sum_of_those_of_one(
    name: str, student: nn.Module, members: list[nn.Module], pairs_of: PairsOf
) -> None:
    pairs = pairs_of(student, members)
    outputs, targets, context = batch_of(student, members)
    for reduction in ("sum", "mean"):
        methods = methods_of_many(reduction=reduction)
        torch.manual_seed(0)
        (term,) = build_terms(name, pairs, methods=methods).values()
        torch.manual_seed(0)
        alone = [METHODS["kd" if name == "kd-mean" else name](pair) for pair in pairs]
        torch.manual_seed(1)
        found = term.loss(term.projector(outputs, targets), context)
        torch.manual_seed(1)
        parts = [
            one.loss(one.projector(outputs, teacher), context)
            for one, teacher in zip(alone, targets, strict=True)
        ]
        if name.startswith("kd"):  # of one distribution, so a constant lower than the mean of three
            assert found.item() < sum(part.item() for part in parts) / 3
            continue
        expected = sum(parts) / (3 if reduction == "mean" else 1)
        torch.testing.assert_close(found, expected)
        assert (term.weight, term.task_weight) == (alone[0].weight, alone[0].task_weight)


def test_one_teachers_term_is_that_of_compression_bit_for_bit(
    student: nn.Module, members: list[nn.Module], pairs_of: PairsOf
) -> None:
    pairs = pairs_of(student, members[:1])
    outputs, targets, context = batch_of(student, members[:1])
    for name in ("crd", "kd", "fitnet", "crd+kd", "dkd"):
        torch.manual_seed(0)
        many = build_terms(name, pairs, methods=ALL)
        torch.manual_seed(0)
        one = build_terms(name, pairs[0])
        assert many.keys() == one.keys()
        for key in one:
            assert (many[key].weight, many[key].task_weight) == (one[key].weight, one[key].task_weight)
            torch.manual_seed(1)
            found = many[key].loss(many[key].projector(outputs, targets), context)
            torch.manual_seed(1)
            assert torch.equal(found, one[key].loss(one[key].projector(outputs, targets[0]), context))


@pytest.mark.parametrize("share", [False, True])
def test_memories_are_written_at_the_rows_of_the_batch(
    share: bool, student: nn.Module, members: list[nn.Module], pairs_of: PairsOf
) -> None:
    methods = methods_of_many(share_student=share)
    (term,) = build_terms("crd", pairs_of(student, members), methods=methods).values()
    outputs, targets, context = batch_of(student, members)
    contrasts = [objective.contrast for objective in term.objective.each]
    banks = {id(bank): bank for c in contrasts for bank in (c.bank_student, c.bank_teacher)}
    assert len(banks) == (4 if share else 6)
    before = {key: bank.rows.clone() for key, bank in banks.items()}
    projected = term.projector(outputs, targets)
    term.update(projected, context)
    for key, bank in banks.items():
        changed = (bank.rows != before[key]).any(1).nonzero().flatten().tolist()
        assert changed == sorted(context.index.tolist())
    z_s = [projected[2 * i] for i in range(3)]
    assert torch.equal(z_s[0], z_s[1]) == share
    if share:  # written once: half of the old row, half of the vector
        row = before[id(contrasts[0].bank_student)][context.index] * 0.5 + 0.5 * z_s[0].detach()
        found = contrasts[2].bank_student.rows[context.index]
        torch.testing.assert_close(found, row / row.norm(dim=1, keepdim=True))


def test_what_knows_one_teacher_alone_is_missing() -> None:
    assert not {"ab", "ft", "fsp", "simkd", "reviewkd"} & set(ALL)
    with pytest.raises(ValueError, match="reduction must be sum or mean, got 'max'"):
        methods_of_many(reduction="max")


def test_a_teacher_without_logits_is_refused(
    student: nn.Module, members: list[nn.Module], pairs_of: PairsOf
) -> None:
    (term,) = build_terms("kd-mean", pairs_of(student, members[:1]), methods=ALL).values()
    blind = Outputs(None, (), torch.rand(2, 3))
    with pytest.raises(ValueError, match="without logits"):
        term.projector(Outputs(torch.rand(2, 4), (), torch.rand(2, 3)), (blind,))
