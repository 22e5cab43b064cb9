"""Teacher dropping: which teachers stay, the loss of each sample, and the terms of every method."""

import pytest
import torch
from torch import nn

from crdkit.common import bind_settings
from crdkit.distillers import JOINT, METHODS, BatchMeta, Term, build_terms, parse_method
from crdkit.distillers.functional import keep_teachers, mean_of_kept
from crdkit.distillers.term import StatelessLoss, loss_of_each

SEVERAL = sorted(set(METHODS) - {"ab", "fsp", "ft", "simkd"})
"""What has a term for each teacher."""
META = BatchMeta(torch.tensor([3, 1, 7, 12]), torch.tensor([0, 2, 2, 5]))
BRIEF = {"crd": {"negatives": "all"}}


def naive_loss(losses: list[list[float]], draws: list[list[float]], drop: float) -> float:
    total, count = 0.0, 0
    for b in range(len(losses[0])):
        column = [row[b] for row in losses]
        for n, loss in enumerate(column):
            if n == column.index(max(column)) or draws[n][b] >= drop:
                total, count = total + loss, count + 1
    return total / count


@pytest.mark.parametrize("drop", [0.0, 0.5, 1.0])
def test_the_worst_matched_teacher_stays_and_the_mean_is_over_who_stayed(drop: float) -> None:
    losses, draws = torch.rand(4, 7, dtype=torch.float64), torch.rand(4, 7, dtype=torch.float64)
    kept = keep_teachers(losses, drop=drop, draws=draws)
    assert kept.gather(0, losses.argmax(0, keepdim=True)).all()
    expected = naive_loss(losses.tolist(), draws.tolist(), drop)
    assert float(mean_of_kept(losses, kept)) == pytest.approx(expected, rel=1e-12)
    assert drop != 0 or kept.all()
    assert drop != 1 or (kept.sum(0) == 1).all()
    losses.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mean_of_kept(x, kept), (losses,))


def test_draws_are_the_generators_and_half_of_the_others_stay() -> None:
    losses = torch.rand(5, 4000)
    torch.manual_seed(3)
    first = keep_teachers(losses)
    torch.manual_seed(3)
    assert torch.equal(first, keep_teachers(losses)) and not torch.equal(first, keep_teachers(losses))
    assert float(first.float().sum(0).mean()) == pytest.approx(1 + 4 / 2, abs=0.1)
    assert keep_teachers(losses[:1]).all()
    assert keep_teachers(torch.ones(3, 50), drop=1.0)[0].all(), "of equal ones the first"


def test_what_is_dropped_has_no_influence() -> None:
    losses = torch.tensor([[3.0, 1.0], [float("inf"), 2.0]], requires_grad=True)
    kept = torch.tensor([[True, False], [False, True]])
    mean_of_kept(losses, kept).backward()
    assert torch.equal(losses.grad, torch.tensor([[0.5, 0.0], [0.0, 0.5]]))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"drop.*1\.5"):
        keep_teachers(torch.rand(2, 3), drop=1.5)
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        keep_teachers(torch.rand(2, 3), draws=torch.rand(3, 2))


@pytest.mark.filterwarnings("error:There is a performance drop")
@pytest.mark.parametrize("name", SEVERAL)
def test_the_loss_of_each_sample_is_that_of_a_batch_of_one_and_their_mean_the_loss(name: str, zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    (part,) = parse_method(name, BRIEF).parts
    term = part.maker(spec, **bind_settings(part.maker, part.settings))
    student, teacher = zoo.outputs(spec.student, grad=True), zoo.outputs(spec.teacher)
    projected = term.projector(student, teacher)
    torch.manual_seed(0)  # crd-dense draws where its grid lies
    each = loss_of_each(term.objective, projected, META)
    torch.manual_seed(0)
    torch.testing.assert_close(each.mean(), term.loss(projected, META))
    objective = term.objective
    has_one = name == "angle" or (isinstance(objective, StatelessLoss) and not objective.relational)
    assert each.shape == ((4,) if has_one else (1,))
    if isinstance(objective, StatelessLoss) and has_one:
        count = len(projected) - objective.constants

        def row(x, b: int):
            return tuple(row(part, b) for part in x) if isinstance(x, tuple) else x[b : b + 1]

        for b in range(4):
            meta = BatchMeta(META.index[b : b + 1], META.label[b : b + 1])
            alone = objective(*row(projected[:count], b), *projected[count:], meta=meta)
            torch.testing.assert_close(each[b], alone)
    each.sum().backward()
    assert all(x.grad is None or x.grad.isfinite().all() for x in student.maps)


def pairs_of(term: Term, projected) -> list[tuple[nn.Module, tuple[object, ...]]]:
    return list(zip(term.objective.each, projected, strict=True))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("name", [*SEVERAL, "kd-mean"])
def test_a_term_of_three_teachers_without_those_that_are_dropped(name: str, reduction: str, zoo) -> None:
    specs = [zoo.spec("resnet20", teacher) for teacher in ("resnet56", "resnet32", "resnet110")]
    how = {"reduction": reduction, "drop_teachers": 0.5}
    term = build_terms(parse_method(name, BRIEF), specs, **how)[name]
    student, teachers = zoo.outputs(specs[0].student), [zoo.outputs(spec.teacher) for spec in specs]
    projected = term.projector(student, teachers)
    torch.manual_seed(5)
    loss = term.loss(projected, META)
    torch.manual_seed(5)
    each = torch.stack([loss_of_each(one, part, META) for one, part in pairs_of(term, projected)])
    kept = keep_teachers(each, drop=0.5)
    factor = 1 if reduction == "mean" or name in ("kd", "kd-mean") else 3
    torch.testing.assert_close(loss, factor * mean_of_kept(each, kept))
    term.objective.eval()
    losses = [objective(*part, meta=META) for objective, part in pairs_of(term, projected)]
    torch.testing.assert_close(term.loss(projected, META), factor * torch.stack(losses).mean())
    term.update(term.to_remember(projected), META.index)


def test_kd_of_all_teachers_has_the_gradient_of_kd_mean(zoo) -> None:
    specs = [zoo.spec("resnet20", "resnet56"), zoo.spec("resnet20", "resnet32")]
    student, teachers = zoo.outputs(specs[0].student, grad=True), [zoo.outputs(s.teacher) for s in specs]
    gradients = []
    for drop in (0.0, 1e-12):
        term = build_terms(parse_method("kd-mean"), specs, drop_teachers=drop)["kd-mean"]
        assert (term.weight, term.task_weight) == (0.9, 0.1)
        loss = term.loss(term.projector(student, teachers), META)
        gradients.append(torch.autograd.grad(loss, student.logits)[0])
    torch.testing.assert_close(*gradients)
    encoder = [spec._replace(student=spec.student._replace(logits=None)) for spec in specs]
    term = build_terms(parse_method("kd"), encoder, drop_teachers=0.5)["kd"]
    assert len(list(term.projector.parameters())) == 2, "one classifier of the student for all teachers"


def test_one_teacher_is_never_dropped_and_methods_that_weigh_teachers_refuse(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    for name in ("kd-logits", "kd-weighted", "ca-mkd", "aekd", "aekd-hint"):
        assert name in JOINT
        build_terms(parse_method(name), [spec], drop_teachers=0.5)
        with pytest.raises(ValueError, match=rf"{name}.*drop_teachers.*kd-mean"):
            build_terms(parse_method(name), [spec, spec], drop_teachers=0.5)
    student, teacher = zoo.outputs(spec.student), zoo.outputs(spec.teacher)
    losses = []
    for drop in (0.0, 0.9):
        torch.manual_seed(0)
        term = build_terms(parse_method("fitnet"), [spec], drop_teachers=drop)["fitnet"]
        losses.append(term.loss(term.projector(student, (teacher,)), META))
    assert torch.equal(*losses)
    with pytest.raises(ValueError, match=r"drop_teachers.*-0\.1"):
        build_terms(parse_method("kd"), [spec], drop_teachers=-0.1)
