"""The angle in units of the teacher's dispersion: plain loops, derivatives, the dispersion over batches."""

import math

import pytest
import torch
from torch import Tensor

from crdkit.distillers import BatchMeta, build_terms, parse_method
from crdkit.distillers.functional import angle, angles, angular_dispersion


def wide(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def between(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return math.acos(max(-1.0, min(1.0, dot / math.hypot(*a) / math.hypot(*b))))


def naive_dispersion(rows: list[list[float]]) -> float:
    units = [[x / math.hypot(*row) for x in row] for row in rows]
    mean = [sum(column) / len(rows) for column in zip(*units, strict=True)]
    return sum(between(row, mean) ** 2 for row in rows) / len(rows)


def test_the_loss_and_the_dispersion_are_their_formulas() -> None:
    student, teacher = wide(6, 5), wide(6, 5)
    rows = list(zip(student.tolist(), teacher.tolist(), strict=True))
    expected = sum(between(s, t) ** 2 for s, t in rows) / 6
    assert float(angle(student, teacher, dispersion=0.5)) == pytest.approx(2 * expected, rel=1e-12)
    assert float(angular_dispersion(teacher)) == pytest.approx(naive_dispersion(teacher.tolist()), rel=1e-12)


def test_a_student_that_says_the_mean_direction_has_loss_one_whatever_the_scale() -> None:
    for teacher in (wide(50, 8), 100 * (wide(50, 8) + 20)):
        mean = (teacher / teacher.norm(dim=1, keepdim=True)).mean(0).expand_as(teacher)
        assert float(angle(mean, teacher, dispersion=angular_dispersion(teacher))) == pytest.approx(1)
    student, teacher = wide(4, 5), wide(4, 5)
    torch.testing.assert_close(angle(3 * student, 0.1 * teacher), angle(student, teacher))
    rotation = torch.linalg.qr(wide(5, 5)).Q
    torch.testing.assert_close(angle(student @ rotation, teacher @ rotation), angle(student, teacher))
    order = torch.randperm(4)
    torch.testing.assert_close(angle(student[order], teacher[order]), angle(student, teacher))


def test_derivatives() -> None:
    student, teacher = wide(4, 5).requires_grad_(), wide(4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: angle(s, t, dispersion=0.3), (student, teacher))


def test_the_same_the_opposite_and_no_direction() -> None:
    teacher = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    student = torch.tensor([[2.0, 4.0], [-1.0, -2.0], [0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    found = angles(student, teacher)
    expected = torch.tensor([0, math.pi, math.pi / 2, math.pi / 2])
    torch.testing.assert_close(found.detach(), expected, atol=1e-3, rtol=0)
    angle(student, teacher).backward()
    assert student.grad is not None and student.grad.isfinite().all()
    small = torch.tensor([[1.0, 1e-5]])
    assert float(angles(small, torch.tensor([[1.0, 0.0]]))) == pytest.approx(1e-5, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(dtype: torch.dtype) -> None:
    student, teacher = (300 * torch.randn(4, 5)).to(dtype), torch.randn(4, 5).to(dtype)
    expected = angle(student.float(), teacher.float())
    assert torch.equal(angle(student, teacher), expected)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(angle(student.float(), teacher.float()), expected)


def test_the_term_divides_by_the_dispersion_of_all_that_was_said(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    term = build_terms(parse_method("angle"), [spec])["angle"]
    said = []
    for step in range(3):
        student, teacher = zoo.outputs(spec.student), zoo.outputs(spec.teacher)
        said.append(teacher.embedding + 2)
        teacher = teacher._replace(embedding=said[-1])
        meta = BatchMeta(torch.arange(4), None)
        projected = term.projector(student, (teacher,))
        before = {name: x.clone() for name, x in term.objective.state_dict().items()}
        loss = term.loss(projected, meta)
        assert all(torch.equal(x, before[name]) for name, x in term.objective.state_dict().items())
        term.update(term.to_remember(projected), meta.index)
        own = term.objective.each[0]
        assert int(own.count) == 4 * (step + 1)
        torch.testing.assert_close(loss, angle(*projected[0], dispersion=own.dispersion))
        if step == 0:
            torch.testing.assert_close(own.dispersion, angular_dispersion(said[0]))
    units = torch.cat([x / x.norm(dim=1, keepdim=True) for x in said])
    torch.testing.assert_close(own.direction, units.mean(0))


def test_one_sample_and_a_teacher_that_always_says_the_same(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    term = build_terms(parse_method("angle"), [spec])["angle"]
    teacher = zoo.outputs(spec.teacher, batch=1)
    for _ in range(3):
        student = zoo.outputs(spec.student, batch=1, grad=True)
        projected = term.projector(student, (teacher,))
        loss = term.loss(projected, BatchMeta(torch.tensor([3]), None))
        torch.testing.assert_close(loss, angle(*projected[0]))
        loss.backward()
        assert student.embedding.grad.isfinite().all()
        term.update(term.to_remember(projected), torch.tensor([3]))


def test_bad_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 3\)"):
        angle(torch.randn(4, 5), torch.randn(4, 3))
