"""Knowledge distillation from several teachers against plain loops, and each teacher's share of a term."""

import math

import pytest
import torch
from torch import Tensor

from crdkit.distillers import METHODS, BatchMeta, build_terms, parse_method
from crdkit.distillers.functional import ensemble_kd, kd, soft_targets


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
    with pytest.raises(ValueError, match="`weighted`"):
        soft_targets(teachers, temperature=1.0, target="weighted")


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"kd", "ab", "fsp", "ft", "simkd"}))
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_term_of_two_teachers_is_the_sum_or_mean_of_theirs(name: str, reduction: str, zoo) -> None:
    settings = {"crd": {"negatives": "all"}}
    specs = [zoo.spec("resnet20", "resnet56"), zoo.spec("resnet20", "resnet32")]
    term = build_terms(parse_method(name, settings), specs, reduction=reduction)[name]
    student, teachers = zoo.outputs(specs[0].student), [zoo.outputs(spec.teacher) for spec in specs]
    meta = BatchMeta(torch.tensor([3, 1, 7, 12]), torch.tensor([0, 2, 2, 5]))
    projected = term.projector(student, teachers)
    torch.manual_seed(0)  # crd-dense draws where its grid lies
    together = term.loss(projected, meta)
    torch.manual_seed(0)
    each = [one(*part, meta=meta) for one, part in zip(term.objective.each, projected, strict=True)]
    torch.testing.assert_close(together, sum(each) / (2 if reduction == "mean" else 1))
    term.update(term.to_remember(projected), meta.index)


@pytest.mark.parametrize("name", ["ab", "fsp", "ft", "simkd"])
def test_what_knows_one_teacher_alone_says_so(name: str, zoo) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*2"):
        build_terms(parse_method(name), [zoo.spec("resnet20", "resnet56"), zoo.spec("resnet20", "resnet32")])
