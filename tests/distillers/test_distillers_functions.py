"""The pure functions against plain loops, derivatives, identities, half precision and bad arguments."""

import math
from collections.abc import Callable
from itertools import permutations
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crdkit.distillers import functional as D


def wide(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def close(value: Tensor, expected: float, rel: float = 1e-9) -> bool:
    return value.item() == pytest.approx(expected, rel=rel)


def test_similarity_correlation_rkd_and_pkt_are_their_formulas(naive: ModuleType) -> None:
    student, teacher, other = wide(5, 4), wide(5, 4), wide(5, 7)
    lists = student.tolist(), other.tolist()
    assert close(D.similarity(student, other), naive.similarity(*lists))
    assert close(D.correlation(student, teacher), naive.correlation(student.tolist(), teacher.tolist()))
    assert close(D.rkd(student, other), naive.rkd(*lists, 25, 50))
    assert close(D.rkd(student, other, distance_weight=0, angle_weight=1), naive.rkd(*lists, 0, 1))
    assert close(D.pkt(student, other), naive.pkt(*lists), rel=1e-5)  # the published floor of 1e-7


def test_dkd_dist_and_standardized_kd_are_their_formulas(naive: ModuleType) -> None:
    student, teacher, label = wide(4, 6), wide(4, 6), torch.tensor([0, 5, 2, 2])
    rows = list(zip(student.tolist(), teacher.tolist(), label.tolist(), strict=True))
    parts = [naive.decoupled(s, t, y, 2.0) for s, t, y in rows]
    expected = 4 * sum(0.5 * tckd + 3 * nckd for tckd, nckd, _ in parts) / 4
    assert close(D.dkd(student, teacher, label, alpha=0.5, beta=3, temperature=2), expected)
    assert close(
        D.dist(student, teacher, beta=0.5, gamma=3, temperature=2),
        naive.dist(student.tolist(), teacher.tolist(), 0.5, 3, 2),
        rel=1e-5,  # the published floor of 1e-8
    )
    scores = [(naive.softmax(naive.z_score(s), 2), naive.softmax(naive.z_score(t), 2)) for s, t, _ in rows]
    expected = 4 * sum(naive.divergence(t, s) for s, t in scores) / 4
    assert close(D.kd(student, teacher, temperature=2, standardize=True), expected)


def test_wttm_is_its_formula(naive: ModuleType) -> None:
    student, teacher = wide(4, 6), 3 * wide(4, 6)
    rows = list(zip(student.tolist(), teacher.tolist(), strict=True))
    for exponent in (0.2, 1.5):
        expected = sum(naive.transformed(s, t, exponent) for s, t in rows) / 4
        assert close(D.wttm(student, teacher, exponent=exponent), expected)
    torch.testing.assert_close(D.wttm(student, teacher, exponent=1), D.kd(student, teacher, temperature=1))
    torch.testing.assert_close(D.wttm(0.2 * teacher, teacher), torch.zeros((), dtype=torch.float64))
    # the weight: C^(1-γ) where the teacher knows nothing, 1 where it is sure
    flat, one_hot = torch.zeros_like(teacher), 1e3 * F.one_hot(torch.arange(4), 6).double()
    torch.testing.assert_close(D.wttm(student, flat), 6**0.8 * D.kd(student, flat, temperature=1))
    torch.testing.assert_close(D.wttm(student, one_hot), F.cross_entropy(student, torch.arange(4)))


def test_itrd_is_its_formula(naive: ModuleType) -> None:
    projected, student, teacher = wide(5, 4), wide(5, 7), wide(5, 4)
    correlation = naive.uncorrelated(projected.tolist(), teacher.tolist(), 1.3)
    mutual = naive.unshared(student.tolist(), teacher.tolist())
    found = D.itrd(projected, student, teacher, alpha=1.3, correlation_weight=0.5, mutual_weight=3)
    assert close(found, 0.5 * correlation + 3 * mutual)
    # a copy is the least: every 1 - c is 1/B; scale, offset and rotation are none of its business
    one = {"correlation_weight": 1.0, "mutual_weight": 0.0}
    assert close(D.itrd(teacher, student, teacher, alpha=1, **one), math.log2(4 / 5**2))
    moved = teacher * wide(4).exp() + wide(4)
    assert close(D.itrd(moved, student, teacher, alpha=1, **one), math.log2(4 / 5**2))
    turned = student @ torch.linalg.qr(wide(7, 7)).Q
    torch.testing.assert_close(D.itrd(projected, turned, teacher), D.itrd(projected, student, teacher))
    # nothing to correlate: a constant feature, a batch of one
    assert close(D.itrd(torch.ones_like(teacher), student, teacher, **one), 2)
    assert close(D.itrd(projected[:1], student[:1], teacher[:1]), 4)


def test_wcord_is_its_formula(naive: ModuleType) -> None:
    student, teacher = wide(5, 4), wide(5, 4)
    lists = student.tolist(), teacher.tolist()
    how = {"epsilon": 0.3, "iterations": 3}
    found = D.wcord(student, teacher, global_weight=0.7, local_weight=2, **how)
    assert close(found, 2 * naive.primal(*lists, **how) - 0.7 * naive.dual(*lists))
    # the dual is the trace of the covariance of both sides
    centered = (student - student.mean(0)) * (teacher - teacher.mean(0))
    whole = D.wcord(student, teacher, global_weight=1, local_weight=0)
    torch.testing.assert_close(whole, -centered.sum(1).mean() / math.sqrt(2))
    alone = D.wcord(student[:1], teacher[:1], global_weight=1, local_weight=0)
    torch.testing.assert_close(alone, torch.zeros_like(alone))
    # who is whose is none of the primal's business
    one = {"global_weight": 0.0, "local_weight": 1.0}
    shuffled = D.wcord(student[torch.randperm(5)], teacher, **one, iterations=300)
    torch.testing.assert_close(shuffled, D.wcord(student, teacher, **one, iterations=300))


def test_srd_is_its_formula(naive: ModuleType) -> None:
    student, teacher = wide(5, 4), wide(5, 4)
    for exponent in (4.0, 1.0):
        expected = naive.soft_maximum(student.tolist(), teacher.tolist(), exponent)
        assert close(D.srd(student, teacher, exponent=exponent), expected, rel=1e-4)  # the floor of 1e-5
    # a copy is the least, and so is a scaled and moved one but for the floor under the variance
    assert close(D.srd(teacher, teacher), math.log(1e-5))
    assert close(D.srd(teacher * 3 + wide(4), teacher), math.log(1e-5), rel=1e-3)
    assert close(D.srd(student[:1], teacher[:1]), math.log(1e-5))
    same = teacher.clone().requires_grad_()
    D.srd(same, teacher).backward()
    assert same.grad is not None and same.grad.abs().max() == 0


def test_mlkd_is_its_formula(naive: ModuleType) -> None:
    student, teacher = wide(5, 4), wide(5, 4)
    instance, batch, category = naive.multi_level(student.tolist(), teacher.tolist(), (1.5, 3))
    how = {"instance_weight": 2, "batch_weight": 0.5, "class_weight": 3}
    found = D.mlkd(student, teacher, temperatures=(1.5, 3), **how)
    assert close(found, 2 * instance + 0.5 * batch + 3 * category)
    instance, batch, category = naive.multi_level(student.tolist(), teacher.tolist(), (2, 3, 4, 5, 6))
    assert close(D.mlkd(student, teacher), 0.75 * instance + 0.25 * batch + 0.25 * category)
    alone = {"instance_weight": 1, "batch_weight": 0, "class_weight": 0}
    torch.testing.assert_close(D.mlkd(student, teacher, temperatures=(4,), **alone), D.kd(student, teacher))
    assert D.mlkd(student[:, :1], teacher[:, :1]) == 0  # of one class there is nothing to tell


def test_sinkhorn_finds_the_best_assignment() -> None:
    cost = torch.rand(4, 4, dtype=torch.float64)
    plan = D.sinkhorn(cost, epsilon=0.1, iterations=500)
    for sums in (plan.sum(0), plan.sum(1)):
        torch.testing.assert_close(sums, torch.full((4,), 0.25, dtype=torch.float64))
    sharp = D.sinkhorn(cost, epsilon=1e-3, iterations=3000)
    best = min(sum(float(cost[i, j]) for i, j in enumerate(order)) for order in permutations(range(4)))
    assert float((sharp * cost).sum()) == pytest.approx(best / 4, abs=2e-3)
    spread = D.sinkhorn(cost, epsilon=1e6)
    torch.testing.assert_close(spread, torch.full_like(cost, 1 / 16), atol=1e-6, rtol=0)
    for wrong in ({"epsilon": 0.0}, {"iterations": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be positive, got 0"):
            D.sinkhorn(cost, **wrong)


def test_logits_of_pixels_are_compared_as_those_of_samples() -> None:
    student, teacher = wide(2, 5, 3, 4), wide(2, 5, 3, 4)
    label = torch.randint(5, (2, 3, 4))
    label[0, 1], label[1, 0, 0] = 255, 255
    flat = [x.movedim(1, -1).flatten(0, 2) for x in (student, teacher)]
    for how in ({"temperature": 2.0}, {"standardize": True}):
        assert close(D.kd(student, teacher, **how), float(D.kd(*flat, **how)))
    assert close(D.wttm(student, teacher), float(D.wttm(*flat)))
    counted = label.flatten() != 255
    kept = [x[counted] for x in flat]
    expected = float(D.dkd(*kept, label.flatten()[counted], alpha=0.5, beta=3.0))
    assert close(D.dkd(student, teacher, label, alpha=0.5, beta=3.0), expected)
    large = label.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert close(D.dkd(student, teacher, large, alpha=0.5, beta=3.0), expected)
    assert float(D.dkd(student, teacher, torch.full_like(label, 255))) == 0

    teachers = torch.stack([teacher, wide(2, 5, 3, 4)])
    rows = torch.stack([x.movedim(1, -1).flatten(0, 2) for x in teachers])
    how = {"temperature": 2.0, "target": "weighted"}
    found = D.soft_targets(teachers, label=large, **how).movedim(1, -1).flatten(0, 2)
    known = D.soft_targets(rows[:, counted], label=label.flatten()[counted], **how)
    torch.testing.assert_close(found[counted], known)
    plain = D.soft_targets(rows, temperature=2.0)
    torch.testing.assert_close(found[~counted], plain[~counted])


def test_losses_of_maps_are_their_formulas(naive: ModuleType) -> None:
    student, teacher, other = wide(2, 3, 4, 4), wide(2, 3, 4, 4), wide(2, 5, 4, 4)
    lists = student.tolist(), other.tolist()
    assert close(D.factor(student, other), naive.factor(*lists))
    assert close(D.nst([student], [other]), naive.nst(*lists))
    large, larger = wide(2, 9, 2, 2), wide(2, 7, 2, 2)  # more channels than places
    assert close(D.nst([large], [larger]), naive.nst(large.tolist(), larger.tolist()))
    flows = list(zip(*lists, strict=True)), list(zip(teacher.tolist(), lists[1], strict=True))
    assert close(D.fsp([student, other], [teacher, other]), naive.fsp(*flows))
    assert close(D.hcl([student], [teacher]), naive.meta(lists[0], teacher.tolist(), (2, 1)))
    tall, taller = wide(2, 3, 8, 8), wide(2, 3, 8, 8)
    assert close(D.hcl([tall], [taller]), naive.meta(tall.tolist(), taller.tolist(), (4, 2, 1)))
    variance = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    assert close(
        D.vid([student], [teacher], [variance]),
        naive.gaussian(lists[0], teacher.tolist(), variance.tolist()),
    )


def test_activation_boundary_weighs_its_maps(naive: ModuleType) -> None:
    maps = [(2 * wide(3, 2, 4, 4), wide(3, 2, 4, 4)), (2 * wide(3, 4, 2, 2), wide(3, 4, 2, 2))]
    sums = [naive.boundary(s.flatten().tolist(), t.flatten().tolist(), 0.7) for s, t in maps]
    expected = (sums[0] / 2 + sums[1]) * 3 / 1000 / 3
    assert close(D.activation_boundary(*zip(*maps, strict=True), margin=0.7), expected)
    # beyond the margin nothing is left to do
    teacher = maps[0][1]
    assert D.activation_boundary([teacher.sign() * 1.01], [teacher]).item() == 0


LABEL = torch.tensor([0, 3, 1, 3])
VECTORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kd": D.kd,
    "standardized kd": lambda s, t: D.kd(s, t, standardize=True),
    "dkd": lambda s, t: D.dkd(s, t, LABEL),
    "standardized dkd": lambda s, t: D.dkd(s, t, LABEL, standardize=True),
    "dist": D.dist,
    "correlation": D.correlation,
    "similarity": D.similarity,
    "rkd": D.rkd,
    "pkt": D.pkt,
    "wttm": D.wttm,
    "wcord": D.wcord,
    "mlkd": D.mlkd,
    "srd": D.srd,
    "itrd": lambda s, t: D.itrd(s, s, t),
}
MAPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "fitnet": D.fitnet,
    "attention": lambda s, t: D.attention([s], [t]),
    "nst": lambda s, t: D.nst([s], [t]),
    "similarity": D.similarity,
    "factor": D.factor,
    "fsp": lambda s, t: D.fsp([s, s[..., ::2, ::2]], [t, t[..., ::2, ::2]]),
    "hcl": lambda s, t: D.hcl([s], [t]),
    "activation_boundary": lambda s, t: D.activation_boundary([s], [t]),
    "vid": lambda s, t: D.vid([s], [t], [s.new_full((s.shape[1],), 2.0)]),
}


@pytest.mark.parametrize("name", VECTORS)
def test_derivatives_for_vectors(name: str) -> None:
    student, teacher = wide(4, 5).requires_grad_(), wide(4, 5).requires_grad_()
    assert torch.autograd.gradcheck(VECTORS[name], (student, teacher))


@pytest.mark.parametrize("name", MAPS)
def test_derivatives_for_maps(name: str) -> None:
    student = wide(2, 2, 4, 4).requires_grad_()
    teacher = wide(2, 2, 4, 4)
    assert torch.autograd.gradcheck(lambda s: MAPS[name](s, teacher), (student,))


LEAST_ELSEWHERE = {"vid", "activation_boundary", "wttm", "itrd", "wcord", "srd"}
"""Losses that are not least, and 0, at a copy of the teacher."""


@pytest.mark.parametrize("name", [name for name in [*VECTORS, *MAPS] if name not in LEAST_ELSEWHERE])
def test_a_copy_of_the_teacher_costs_nothing(name: str) -> None:
    loss, x = (VECTORS[name], wide(4, 5)) if name in VECTORS else (MAPS[name], wide(4, 2, 4, 4))
    # dist has a floor of 1e-8 under its norms
    assert loss(x, x).item() == pytest.approx(0, abs=1e-3 if name == "dist" else 1e-12)
    assert loss(x, torch.randn_like(x)).item() > 1e-3


@pytest.mark.parametrize("name", [*VECTORS, *MAPS])
def test_the_order_of_the_batch(name: str) -> None:
    loss, shape = (VECTORS[name], (4, 5)) if name in VECTORS else (MAPS[name], (4, 2, 4, 4))
    student, teacher = wide(*shape), wide(*shape)
    order = torch.tensor([3, 1, 2, 0])  # keeps the labels
    if "dkd" in name:
        order = torch.tensor([0, 3, 2, 1])
    permuted = loss(student[order], teacher[order])
    if name == "correlation":  # alone depends on who is whose neighbor
        assert not torch.isclose(permuted, loss(student, teacher))
        torch.testing.assert_close(loss(student.flip(0), teacher.flip(0)), loss(student, teacher))
    else:
        torch.testing.assert_close(permuted, loss(student, teacher))


def test_kd_is_what_dkd_takes_apart() -> None:
    student, teacher, label = wide(1, 6), wide(1, 6), torch.tensor([4])
    target = teacher.div(4).softmax(1)[0, 4].item()
    whole = D.dkd(student, teacher, label, alpha=1, beta=1 - target)
    torch.testing.assert_close(whole, D.kd(student, teacher))


def test_what_relations_do_not_see() -> None:
    student, teacher = wide(6, 5), wide(6, 5)
    rotation = torch.linalg.qr(wide(5, 5)).Q
    channels = torch.randperm(5)
    moved = 3 * student @ rotation + wide(5)
    torch.testing.assert_close(D.rkd(moved, teacher), D.rkd(student, teacher))
    torch.testing.assert_close(D.rkd(student, moved), torch.zeros((), dtype=torch.float64), atol=1e-9, rtol=0)
    for loss in (D.pkt, D.similarity, D.rkd):
        torch.testing.assert_close(loss(student[:, channels], teacher), loss(student, teacher))
    torch.testing.assert_close(D.pkt(student * wide(6, 1).abs(), teacher), D.pkt(student, teacher))
    torch.testing.assert_close(D.similarity(3 * student, teacher), D.similarity(student, teacher))
    m, n = wide(2, 3, 4, 4), wide(2, 5, 4, 4)
    torch.testing.assert_close(D.nst([7 * m.flip(1)], [n]), D.nst([m], [n]))
    torch.testing.assert_close(D.factor(7 * m.flip(1), n), D.factor(m, n))


def test_what_predictions_do_not_see() -> None:
    student, teacher, label = wide(4, 6), wide(4, 6), torch.tensor([0, 3, 5, 1])
    moved = student * wide(4, 1).exp() + wide(4, 1)
    for loss in (D.kd, lambda s, t, **how: D.dkd(s, t, label, **how)):
        torch.testing.assert_close(
            loss(moved, teacher, standardize=True), loss(student, teacher, standardize=True)
        )
        assert not torch.isclose(loss(moved, teacher), loss(student, teacher))
    for loss in (D.kd, D.dist, D.mlkd):
        torch.testing.assert_close(loss(student + wide(4, 1), teacher), loss(student, teacher))
    # dist: a linear relation costs nothing (but for its floor), as when all predictions move to uniform ones
    p = student.softmax(1)
    softened = (0.3 * p + 0.7 / 6).log()
    assert D.dist(p.log(), softened, temperature=1).item() == pytest.approx(0, abs=1e-4)
    uneven = (p * wide(4, 1).sigmoid() + 0.1).log()  # an affine map of its own for each row
    uneven = uneven - uneven.logsumexp(1, keepdim=True)
    assert D.dist(p.log(), uneven, temperature=1, gamma=0).item() == pytest.approx(0, abs=1e-4)
    assert D.dist(p.log(), uneven, temperature=1, beta=0).item() > 1e-2


def test_the_standard_score() -> None:
    logits = 5 * wide(3, 7) + 2
    scores = D.standardize_logits(logits)
    torch.testing.assert_close(scores.mean(1), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(scores.std(1), torch.ones(3, dtype=torch.float64))
    assert D.standardize_logits(torch.full((2, 4), 3.0)).abs().max() == 0


def test_degenerate_batches_stay_finite() -> None:
    for name, loss in {**VECTORS, **MAPS}.items():
        shape = (4, 5) if name in VECTORS and name != "similarity" else (4, 2, 4, 4)
        student = torch.zeros(shape, requires_grad=True)  # all samples alike, no direction
        value = loss(student, torch.randn(shape))
        value.backward()
        assert torch.isfinite(value) and student.grad is not None, name
        assert student.grad.abs().max() < 1e3, name
    for loss in (D.correlation, D.rkd, D.pkt, D.similarity, D.srd, VECTORS["itrd"]):
        one = torch.randn(1, 5, requires_grad=True)
        loss(one, torch.randn(1, 5)).backward()
        assert one.grad is not None and one.grad.abs().max() < 1e-5
    sure = torch.tensor([[1e4, -1e4, 0.0], [0.0, 1e4, -1e4]], requires_grad=True)
    value = D.dkd(sure, -sure.detach(), torch.tensor([0, 1]), temperature=1.0)
    value.backward()
    assert torch.isfinite(value) and sure.grad is not None and torch.isfinite(sure.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [*VECTORS, *MAPS])
def test_half_precision_is_computed_in_full(name: str, dtype: torch.dtype) -> None:
    loss, shape = (VECTORS[name], (4, 5)) if name in VECTORS else (MAPS[name], (4, 2, 4, 4))
    big, other = (300 * torch.randn(shape)).to(dtype), torch.randn(shape).to(dtype)
    expected = loss(big.float(), other.float())
    assert loss(big, other).dtype == torch.float32
    torch.testing.assert_close(loss(big, other), expected)
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(loss(big.float(), other.float()), expected)


def test_larger_maps_are_pooled() -> None:
    wide_map, high_map = torch.randn(2, 3, 2, 8), torch.randn(2, 4, 6, 4)
    pooled_wide = torch.stack([wide_map[..., 2 * j : 2 * j + 2].mean(-1) for j in range(4)], -1)
    pooled_high = torch.stack([high_map[:, :, 3 * i : 3 * i + 3].mean(2) for i in range(2)], 2)
    for loss in (lambda s, t: D.nst([s], [t]), D.factor):
        torch.testing.assert_close(loss(wide_map, high_map), loss(pooled_wide, pooled_high))
    a, b = torch.randn(2, 3, 2, 4), torch.randn(2, 4, 2, 4)
    torch.testing.assert_close(D.fsp([wide_map, high_map], [a, b]), D.fsp([pooled_wide, pooled_high], [a, b]))


def test_bad_arguments_are_named() -> None:
    x, m = torch.randn(4, 5), torch.randn(4, 2, 4, 4)
    with pytest.raises(ValueError, match=r"\(B, D\).*\(4, 5\).*\(4, 2\)"):
        D.correlation(x, x[:, :2])
    for loss in (D.rkd, D.pkt):
        with pytest.raises(ValueError, match=r"\(B, D\).*\(4, 5\).*\(3, 5\)"):
            loss(x, x[:3])
    with pytest.raises(ValueError, match=r"\(B, …\).*\(4, 5\).*\(3, 5\)"):
        D.similarity(x, x[:3])
    with pytest.raises(ValueError, match=r"\(B, C, H, W\).*\(4, 5\)"):
        D.factor(x, m)
    with pytest.raises(ValueError, match=r"2.*1.*1"):
        D.fsp([m], [m])
    with pytest.raises(ValueError, match=r"\[2, 2\].*\[2, 1\]"):
        D.fsp([m, m], [m, m[:, :1]])
    with pytest.raises(ValueError, match="student_maps"):
        D.nst(m, [m])
    with pytest.raises(ValueError, match=r"margin.*0"):
        D.activation_boundary([m], [m], margin=0)
    with pytest.raises(ValueError, match=r"got \(4, 2, 4, 4\) and \(4, 1, 4, 4\)"):
        D.activation_boundary([m], [m[:, :1]])
    with pytest.raises(ValueError, match=r"\(C,\).*\(3,\)"):
        D.vid([m], [m], [torch.ones(3)])
    with pytest.raises(ValueError, match=r"got \(4, 2, 4, 4\) and \(4, 2, 2, 2\)"):
        D.hcl([m], [m[..., :2, :2]])
    for loss in (D.dist, lambda s, t, temperature: D.dkd(s, t, LABEL, temperature=temperature)):
        with pytest.raises(ValueError, match=r"temperature.*0"):
            loss(x, x, temperature=0)
    with pytest.raises(ValueError, match=r"exponent.*-1"):
        D.wttm(x, x, exponent=-1)
    with pytest.raises(ValueError, match=r"alpha.*0"):
        D.itrd(x, x, x, alpha=0)
    with pytest.raises(ValueError, match=r"\(B, D\).*\(4, 5\).*\(4, 2\)"):
        D.itrd(x, x, x[:, :2])
    with pytest.raises(ValueError, match=r"\(B, D\).*\(4, 5\).*\(4, 2\)"):
        D.wcord(x, x[:, :2])
    with pytest.raises(ValueError, match=r"exponent.*0\.5"):
        D.srd(x, x, exponent=0.5)
    with pytest.raises(ValueError, match=r"temperature.*-2"):
        D.mlkd(x, x, temperatures=(4, -2))
    with pytest.raises(ValueError, match=r"label.*int64.*\(4,\).*torch\.int64.*\(3,\)"):
        D.dkd(x, x, LABEL[:3])
    with pytest.raises(ValueError, match="classes"):
        D.dkd(x[:, :1], x[:, :1], LABEL)
