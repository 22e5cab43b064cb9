"""AEKD: the weights against a search over all active sets, the losses against plain loops, and limits."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from crdkit.distillers import BatchMeta, build_terms, parse_method
from crdkit.distillers.functional import aekd, fitnet, kd, min_norm_weights


def wide(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def shortest(gradients: Tensor, tolerance: float) -> tuple[Tensor, float]:
    """The best feasible point over all choices of which weights are 0, C or between, and its square."""
    gram, number, best = gradients @ gradients.T, len(gradients), (torch.zeros(0), math.inf)
    for states in itertools.product("0Cf", repeat=number):
        weights = torch.tensor([tolerance * (state == "C") for state in states], dtype=torch.float64)
        free = [i for i, state in enumerate(states) if state == "f"]
        system = torch.zeros(len(free) + 1, len(free) + 1, dtype=torch.float64)
        system[:-1, :-1], system[-1, :-1], system[:-1, -1] = gram[free][:, free], 1, 1
        right = torch.cat([-(gram @ weights)[free], (1 - weights.sum())[None]])
        if free:
            weights[free] = torch.linalg.lstsq(system, right[:, None]).solution[:-1, 0]
        inside = weights.min() > -1e-9 and weights.max() < tolerance + 1e-9
        if inside and abs(weights.sum() - 1) < 1e-9 and (square := float(weights @ gram @ weights)) < best[1]:
            best = weights, square
    return best


@pytest.mark.parametrize("number", [2, 3, 5])
@pytest.mark.parametrize("size", [2, 4, 50])
@pytest.mark.parametrize("tolerance", [0.6, 1.0])
def test_the_weights_are_those_of_the_shortest_combination(number: int, size: int, tolerance: float) -> None:
    for offset in (0.0, 1.0, 3.0):
        gradients = wide(number, size) * torch.rand(number, 1).exp() + offset * wide(1, size)
        expected, square = shortest(gradients, tolerance)
        found = min_norm_weights(gradients, tolerance=tolerance)
        # More teachers than dimensions: many points are nearly as good, and the solver is slow among them.
        slack = float(gradients.square().sum(1).max()) * (1e-8 if size >= number else 1e-3)
        assert float((found @ gradients).square().sum()) == pytest.approx(square, abs=slack)
        assert (
            found.min() >= 0 and found.max() <= tolerance + 1e-12 and float(found.sum()) == pytest.approx(1)
        )
        if size >= number:
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_directions_alone_are_what_the_normalized_form_sees() -> None:
    gradients = wide(3, 8)
    lengths = gradients.norm(dim=1, keepdim=True)
    unit_weights, _ = shortest(gradients / lengths, 0.6)
    expected = unit_weights / lengths[:, 0]
    found = min_norm_weights(gradients, normalize=True)
    torch.testing.assert_close(found, expected / expected.sum(), rtol=0, atol=1e-6)


def test_limits_of_the_tolerance_and_of_the_gradients() -> None:
    gradients = torch.tensor([[1.0, 0.0], [3.0, 0.0], [-1.0, 4.0]])
    third = torch.full((3,), 1 / 3)
    torch.testing.assert_close(min_norm_weights(gradients, tolerance=0.1), third)
    torch.testing.assert_close(min_norm_weights(torch.zeros(3, 4)), third)
    torch.testing.assert_close(min_norm_weights(torch.ones(3, 4)), third)
    assert torch.equal(min_norm_weights(gradients[:1]), torch.ones(1))
    torch.testing.assert_close(min_norm_weights(gradients[:2]), torch.tensor([0.6, 0.4]))
    torch.testing.assert_close(min_norm_weights(gradients[:2], tolerance=1.0), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(min_norm_weights(gradients[:, :0]), third)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(min_norm_weights(gradients[order]), min_norm_weights(gradients)[order])
    torch.testing.assert_close(min_norm_weights(7 * gradients), min_norm_weights(gradients))
    with pytest.raises(ValueError, match=r"tolerance.*0"):
        min_norm_weights(gradients, tolerance=0)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        min_norm_weights(gradients[:, 0])


@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3, 3)])
def test_the_loss_is_the_weighted_sum_and_its_gradient_the_shortest(shape: tuple[int, ...]) -> None:
    student, teachers = wide(*shape).requires_grad_(), wide(3, *shape)
    losses = [kd(student, teacher, temperature=2.0) for teacher in teachers]
    gradients = [torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in losses]
    losses = [float(loss.detach()) for loss in losses]
    weights, _ = shortest(torch.stack([g.mean(0).flatten() for g in gradients]), 0.6)
    loss = aekd(student, teachers, temperature=2.0)
    expected = sum(float(w) * x for w, x in zip(weights, losses, strict=True))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    (found,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(
        found, sum(w * g for w, g in zip(weights, gradients, strict=True)), rtol=1e-5, atol=1e-8
    )


def test_derivatives_where_the_weights_are_at_their_limits() -> None:
    base = wide(3, 4)
    teachers = torch.stack([base + 0.1 * wide(3, 4), base + 20 * wide(1, 4)])
    student = base.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: aekd(s, teachers, tolerance=0.6), (student,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(dtype: torch.dtype) -> None:
    student, teachers = (30 * torch.randn(4, 5)).to(dtype), torch.randn(3, 4, 5).to(dtype)
    expected = aekd(student.float(), teachers.float())
    assert torch.equal(aekd(student, teachers), expected)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(aekd(student.float(), teachers.float()), expected)


def test_one_teacher_one_class_one_sample_and_equal_logits() -> None:
    student, teacher = torch.randn(6, 4), torch.randn(6, 4)
    torch.testing.assert_close(aekd(student, teacher[None]), kd(student, teacher))
    assert float(aekd(torch.randn(2, 1), torch.randn(3, 2, 1))) == 0
    same = torch.randn(1, 4, requires_grad=True)
    loss = aekd(same, same.detach().expand(3, 1, 4))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert same.grad is not None and same.grad.isfinite().all()


def test_the_term_of_logits(zoo) -> None:
    specs = [zoo.spec("resnet20", "resnet56"), zoo.spec("resnet20", "resnet32")]
    term = build_terms(parse_method("aekd"), specs)["aekd"]
    assert (term.weight, term.task_weight) == (0.9, 1.0)
    student, teachers = zoo.outputs(specs[0].student), [zoo.outputs(spec.teacher) for spec in specs]
    loss = term.loss(term.projector(student, teachers), BatchMeta(torch.arange(4), None))
    torch.testing.assert_close(loss, aekd(student.logits, torch.stack([t.logits for t in teachers])))


def test_the_term_of_maps_weighs_hints_by_the_gradients_of_the_students_map(zoo) -> None:
    specs = [zoo.spec("resnet20", "resnet56"), zoo.spec("resnet20", "resnet32x4")]
    term = build_terms(parse_method("aekd-hint"), specs)["aekd-hint"]
    assert (term.weight, term.task_weight) == (100.0, 1.0)
    assert term.projector.reads == (frozenset({"maps.2"}),) * 2
    student = zoo.outputs(specs[0].student, grad=True)
    teachers = [zoo.outputs(spec.teacher) for spec in specs]
    losses = [fitnet(*hint(student, t)) for hint, t in zip(term.projector.each, teachers, strict=True)]
    seen = student.maps[2]
    gradients = [torch.autograd.grad(x, seen, retain_graph=True)[0].mean(0).flatten() for x in losses]
    weights = min_norm_weights(torch.stack(gradients), normalize=True)
    loss = term.loss(term.projector(student, teachers), BatchMeta(torch.arange(4), None))
    torch.testing.assert_close(loss, weights @ torch.stack(losses), rtol=1e-4, atol=0)
    loss.backward()
    assert seen.grad.any() and all(p.grad is not None for p in term.projector.parameters())
    with torch.no_grad():
        assert torch.isfinite(term.loss(term.projector(student, teachers), BatchMeta(torch.arange(4), None)))
    with pytest.raises(ValueError, match="aekd-hint"):
        build_terms(parse_method("aekd-hint", {"aekd-hint": {"hint": 7}}), specs)
