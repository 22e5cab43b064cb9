"""CA-MKD against plain loops, derivatives, limits and what it refuses."""

import math

import pytest
import torch
from torch import Tensor

from crdkit.distillers import BatchMeta, build_terms, parse_method
from crdkit.distillers.functional import ca_hints, ca_kd, confidence, kd


def wide(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def naive_weights(logits: Tensor, label: Tensor) -> list[list[float]]:
    """w[k][b] of (N, B, C)."""
    n, batch, _ = logits.shape
    weights = [[0.0] * batch for _ in range(n)]
    for b in range(batch):
        wrong = [-math.log(softmax(logits[k, b].tolist())[label[b]]) for k in range(n)]
        total = sum(math.exp(ce) for ce in wrong)
        for k in range(n):
            weights[k][b] = (1 - math.exp(wrong[k]) / total) / (n - 1)
    return weights


def test_logits_and_hints_are_their_formulas() -> None:
    teachers, student, label = 3 * wide(3, 4, 5), wide(4, 5), torch.tensor([0, 4, 2, 2])
    weights = naive_weights(teachers, label)
    torch.testing.assert_close(confidence(teachers, label), torch.tensor(weights, dtype=torch.float64))
    loss = 0.0
    for k in range(3):
        for b in range(4):
            p, q = (softmax([x / 2 for x in row]) for row in (teachers[k, b].tolist(), student[b].tolist()))
            divergence = sum(pc * math.log(pc / qc) for pc, qc in zip(p, q, strict=True))
            loss += 4 * weights[k][b] * divergence / 12
    assert float(ca_kd(student, teachers, label, temperature=2.0)) == pytest.approx(loss, rel=1e-10)

    ours, theirs = ([wide(4, c, s, s) for c, s in ((2, 3), (5, 2), (3, 1))] for _ in range(2))
    expected = 0.0
    for k in range(3):
        for b in range(4):
            pairs = list(zip(ours[k][b].flatten().tolist(), theirs[k][b].flatten().tolist(), strict=True))
            expected += weights[k][b] * sum((s - t) ** 2 for s, t in pairs) / len(pairs) / 12
    assert float(ca_hints(ours, theirs, teachers, label)) == pytest.approx(expected, rel=1e-10)


def test_derivatives() -> None:
    teachers, label = wide(3, 2, 4), torch.tensor([0, 3])
    student = wide(2, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: ca_kd(s, teachers, label), (student,))
    maps = [wide(2, 2, 2, 2) for _ in range(6)]
    first = maps[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda s: ca_hints([s, *maps[1:3]], maps[3:], teachers, label), (first,))


def test_weights_add_up_and_the_teacher_that_knows_the_label_counts_more() -> None:
    logits, label = 3 * wide(4, 6, 5), torch.randint(5, (6,))
    torch.testing.assert_close(confidence(logits, label).sum(0), torch.ones(6, dtype=torch.float64))
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(confidence(logits[order], label), confidence(logits, label)[order])
    pair = torch.tensor([[[9.0, 0.0]], [[0.0, 0.0]]])
    knows, guesses = confidence(pair, torch.tensor([0])).flatten().tolist()
    assert knows > guesses
    assert torch.equal(confidence(pair[:1], torch.tensor([0])), torch.ones(1, 1))


def test_equal_logits_one_class_and_sure_teachers() -> None:
    alike = torch.zeros(3, 2, 4)
    torch.testing.assert_close(confidence(alike, torch.tensor([0, 1])), torch.full((3, 2), 1 / 3))
    one = torch.randn(3, 1, 1)
    assert float(ca_kd(torch.randn(1, 1), one, torch.tensor([0]))) == 0
    sure = torch.tensor([[[1e4, -1e4]], [[-1e4, 1e4]], [[-1e4, 1e4]]])
    student = torch.zeros(1, 2, requires_grad=True)
    loss = ca_kd(student, sure, torch.tensor([0]))
    loss.backward()
    assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(dtype: torch.dtype) -> None:
    student, teachers, label = (
        (30 * torch.randn(4, 5)).to(dtype),
        torch.randn(3, 4, 5).to(dtype),
        torch.arange(4),
    )
    expected = ca_kd(student.float(), teachers.float(), label)
    assert torch.equal(ca_kd(student, teachers, label), expected)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(ca_kd(student.float(), teachers.float(), label), expected)


def test_pixels_weigh_alike_where_the_label_is_no_class() -> None:
    teachers, label = wide(2, 3, 4, 2, 2), torch.tensor([0, 3, 255, 1]).repeat(3).view(3, 2, 2)
    weights = confidence(teachers, label)
    assert weights.shape == (2, 3, 2, 2)
    torch.testing.assert_close(weights[:, :, 1, 0], torch.full((2, 3), 0.5, dtype=torch.float64))
    rows, known = teachers.movedim(2, -1).flatten(1, 3), label.flatten() < 4
    flat = confidence(rows[:, known], label.flatten()[known])
    torch.testing.assert_close(weights.flatten(1)[:, known], flat)
    large = label.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(confidence(teachers, large), weights)


def test_one_teacher_is_plain_distillation() -> None:
    student, teacher, label = torch.randn(6, 4), 3 * torch.randn(6, 4), torch.randint(4, (6,))
    torch.testing.assert_close(ca_kd(student, teacher[None], label), kd(student, teacher))


def test_the_term_is_both_parts_with_the_published_weights(zoo) -> None:
    specs = [zoo.spec("resnet20", "resnet56"), zoo.spec("resnet20", "resnet32x4")]
    term = build_terms(parse_method("ca-mkd"), specs)["ca-mkd"]
    assert (term.weight, term.task_weight) == (1.0, 1.0)
    assert term.projector.reads == (frozenset({"logits", "maps.3"}),) * 2
    student = zoo.outputs(specs[0].student, grad=True)
    teachers = [zoo.outputs(spec.teacher) for spec in specs]
    label = torch.tensor([0, 2, 2, 5])
    projected = term.projector(student, teachers)
    assert [tuple(x.shape) for x in projected[2]] == [(4, 64, 8, 8), (4, 256, 8, 8)]
    loss = term.loss(projected, BatchMeta(torch.arange(4), label))
    kd_part = ca_kd(student.logits, torch.stack([t.logits for t in teachers]), label)
    torch.testing.assert_close(loss, kd_part + 50 * ca_hints(*projected[2:], label))
    loss.backward()
    assert student.maps[-1].grad.any() and student.logits.grad.any()
    trained = {name for name, p in term.projector.named_parameters() if p.grad is not None}
    assert trained and all(name.startswith("hints.regress") for name in trained)
    for own, spec in zip(term.projector.hints.classify, specs, strict=True):
        assert own is not spec.teacher_classifier and not own.weight.requires_grad
        assert torch.equal(own.weight, spec.teacher_classifier.weight)


def test_what_cannot_run_is_refused(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    with pytest.raises(ValueError, match=r"ca-mkd.*hint_weight=0"):
        build_terms(parse_method("ca-mkd"), [spec._replace(teacher_classifier=None)])
    with pytest.raises(ValueError, match=r"ca-mkd.*hint_weight=0"):
        build_terms(parse_method("ca-mkd"), [zoo.spec("resnet20", "MobileNetV2")])
    build_terms(
        parse_method("ca-mkd", {"ca-mkd": {"hint_weight": 0.0}}), [spec._replace(teacher_classifier=None)]
    )
    with pytest.raises(ValueError, match=r"ca-mkd.*label"):
        build_terms(parse_method("ca-mkd"), [spec._replace(labels=None)])
    other = spec._replace(teacher=spec.teacher._replace(logits=(7,)))
    with pytest.raises(ValueError, match="ca-mkd"):
        build_terms(parse_method("ca-mkd"), [spec, other])
    with pytest.raises(ValueError, match=r"\(3, 4, 5\).*\(3,\)"):
        confidence(torch.randn(3, 4, 5), torch.arange(3))
