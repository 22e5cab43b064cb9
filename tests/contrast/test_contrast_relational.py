"""The relational objective: naive loops, a dense form, gradients, identities, memory, precision."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crdkit.contrast import (
    ContrastConfig,
    CRDLoss,
    CriticHeads,
    DenseContrast,
    InstanceContrast,
    LocalGlobalContrast,
    infonce,
    relational,
)
from crdkit.contrast.monitor import constant_loss
from crdkit.contrast.negatives import draw_shared, draw_uniform
from crdkit.contrast.relations import contrast_relations
from crdkit.contrast.scores import MASKED

M, D, K = 12, 4, 6
INDEX = torch.tensor([3, 0, 8])
TAUS: dict[str, float] = {"temperature": 0.5, "teacher_temperature": 0.3}
COLUMNS = torch.tensor([[0, 3, 3, 5], [1, 0, 5, 2], [4, 4, 4, 4]])


@pytest.fixture
def scores() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.rand, generator=generator, dtype=torch.float64)
    of_student = (draw(5) * 2 - 1).requires_grad_(), (draw(5, 7) * 2 - 1).requires_grad_()
    return *of_student, draw(5) * 2 - 1, draw(5, 7) * 2 - 1


def make(negatives: str, **options: Any) -> InstanceContrast:
    config = ContrastConfig(
        D, objective="relational", negatives=negatives, **{"num_negatives": K, **TAUS, **options}
    )
    labels = torch.arange(M) % 3 if negatives.endswith("other_class") else None
    return InstanceContrast(M, config, labels=labels).double()


def in_torch(z_s: Tensor, z_t: Tensor, candidates: Tensor) -> Tensor:
    """The textbook form; candidates (B, N, d), without the true one."""
    every = torch.cat([z_t.unsqueeze(1), candidates], dim=1).detach()
    student = torch.einsum("bd,bnd->bn", z_s, every) / TAUS["temperature"]
    teacher = torch.einsum("bd,bnd->bn", z_t.detach(), every) / TAUS["teacher_temperature"]
    return F.cross_entropy(student, teacher.softmax(dim=1))


def test_the_function_equals_naive_loops(naive: ModuleType, scores: tuple[Tensor, ...]) -> None:
    student, teacher = (
        [(p.item(), n.tolist()) for p, n in zip(*side, strict=True)] for side in (scores[:2], scores[2:])
    )
    expected = naive.relational(student, teacher, **TAUS)
    assert relational(*scores, **TAUS).mean().item() == pytest.approx(expected)


def test_the_functions_gradients_and_identities(scores: tuple[Tensor, ...]) -> None:
    own, others, own_t, others_t = scores
    assert torch.autograd.gradcheck(lambda a, b: relational(a, b, own_t, others_t, **TAUS), (own, others))
    expected = relational(*scores, **TAUS)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    same = torch.testing.assert_close
    same(relational(own, others[:, order], own_t, others_t[:, order], **TAUS), expected)
    # The target counts repeated columns; the loss of a column that stands for three is that of three.
    repeated = relational(own, others.repeat(1, 3), own_t, others_t.repeat(1, 3), **TAUS)
    same(relational(*scores, **TAUS, weight=3.0), repeated)
    hidden = torch.arange(7) > 3
    masked = [x.masked_fill(hidden, MASKED) for x in (others, others_t)]
    same(
        relational(own, masked[0], own_t, masked[1], **TAUS),
        relational(own, others[:, :4], own_t, others_t[:, :4], **TAUS),
    )
    # With targets as sharp as can be, and the teacher nearest to itself, it is InfoNCE.
    sharp = relational(own, others, torch.ones(5), others_t, temperature=0.5, teacher_temperature=1e-4)
    same(sharp, infonce(own, others, temperature=0.5))
    # All pairs hidden but the true one: nothing to say.
    alone = relational(own, torch.full((5, 7), MASKED), own_t, torch.full((5, 7), MASKED), **TAUS)
    assert alone.abs().max() < 1e-12
    assert torch.autograd.grad(alone.sum(), own)[0].abs().max() < 1e-12


def test_the_gradient_is_zero_where_student_and_teacher_are_equal(unit: Callable[..., Tensor]) -> None:
    z_t, noise = unit(3, D).detach(), unit(6, D).detach()
    z_s = z_t.clone().requires_grad_()
    equal = {"temperature": 0.3, "teacher_temperature": 0.3}
    value = contrast_relations(z_s, z_t, noise, **equal)
    assert torch.autograd.grad(value, z_s)[0].abs().max() < 1e-12
    # It is the minimum: the entropy of the targets.
    p = (torch.cat([(z_t * z_t).sum(1, keepdim=True), z_t @ noise.T], dim=1) / 0.3).softmax(dim=1)
    torch.testing.assert_close(value.detach(), -(p * p.log()).sum(1).mean())
    assert contrast_relations(unit(3, D), z_t, noise, **equal) > value


@pytest.mark.parametrize("block", [1, 7, 2**20])
@pytest.mark.parametrize("selection", ["all", "columns", "rows", "ids"])
@pytest.mark.parametrize("weight", [1.0, 3.5])
def test_the_fused_form_equals_the_pure_function(
    block: int, selection: str, weight: float, unit: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crdkit.contrast.scores._BLOCK", {"cpu": block})
    monkeypatch.setattr("crdkit.contrast.scores._TILE", {"cpu": 2})
    monkeypatch.setattr("crdkit.contrast.scores._PRODUCT_ANCHORS", 1)
    z_s, z_t, noise = unit(3, D), unit(3, D).detach(), unit(6, D).detach()
    owner, candidate_ids = torch.tensor([2, 0, 5]), torch.tensor([0, 7, 2, 2, -1, 5])
    chosen: dict[str, Tensor] = {
        "all": {},
        "columns": {"columns": COLUMNS},
        "rows": {"anchor_ids": owner},
        "ids": {"anchor_ids": owner, "candidate_ids": candidate_ids},
    }[selection]
    found = contrast_relations(z_s, z_t, noise, **TAUS, weight=weight, **chosen)
    ours, theirs = z_s @ noise.T, z_t @ noise.T
    if selection == "columns":
        ours, theirs = ours.gather(1, COLUMNS), theirs.gather(1, COLUMNS)
    elif selection != "all":
        others = torch.arange(6) if selection == "rows" else candidate_ids
        hidden = (owner.unsqueeze(1) == others) | (others < 0)
        ours, theirs = ours.masked_fill(hidden, MASKED), theirs.masked_fill(hidden, MASKED)
    true = (z_s * z_t).sum(1), (z_t * z_t).sum(1)
    expected = relational(true[0], ours, true[1], theirs, **TAUS, weight=weight).mean()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, z_s), torch.autograd.grad(expected, z_s))


def test_fused_gradcheck_and_no_gradient_to_the_teacher(unit: Callable[..., Tensor]) -> None:
    z_t, noise = unit(3, D), unit(6, D)
    for selection in ({}, {"columns": COLUMNS}):
        value = partial(contrast_relations, z_t=z_t, candidates=noise, **TAUS, **selection)
        assert torch.autograd.gradcheck(value, (unit(3, D),))
    contrast_relations(unit(3, D), z_t, noise, **TAUS).backward()
    assert z_t.grad is None and noise.grad is None


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("rows", [torch.float32, torch.bfloat16])
def test_drawn_rows_natively_and_in_torch(
    native: bool, rows: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr("crdkit.contrast.native.fits", lambda z, noise: False)
    torch.manual_seed(0)
    z_s, z_t, noise = (F.normalize(torch.randn(n, 32), dim=1) for n in (5, 5, 400))
    noise, columns = noise.to(rows), torch.randint(400, (5, 64))
    z_s.requires_grad_()
    found = contrast_relations(z_s, z_t, noise, **TAUS, columns=columns)
    expected = in_torch(z_s, z_t, noise.float()[columns])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    grads = torch.autograd.grad(found, z_s)[0], torch.autograd.grad(expected, z_s)[0]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_fp32_under_autocast(dtype: torch.dtype) -> None:
    z_s, z_t, noise = (F.normalize(torch.randn(n, D), dim=1) for n in (3, 3, 6))
    expected = contrast_relations(z_s, z_t, noise, **TAUS)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(contrast_relations(z_s, z_t, noise, **TAUS), expected)
    half = contrast_relations(z_s.to(dtype), z_t.to(dtype), noise, temperature=0.01, teacher_temperature=0.01)
    assert half.dtype == torch.float32 and half.isfinite()


@pytest.mark.parametrize("negatives", ["uniform", "other_class", "shared", "shared_other_class", "all"])
def test_instance_equals_naive_loops(naive: ModuleType, unit: Callable[..., Tensor], negatives: str) -> None:
    """The true candidate is the teacher's own vector; the rest are its bank's rows."""
    z_s, z_t, contrast = unit(3, D), unit(3, D), make(negatives)
    bank = contrast.bank_teacher.rows
    assert contrast.bank_student is None and "bank_student.rows" not in contrast.state_dict()
    torch.manual_seed(1)
    value = contrast(z_s, z_t, INDEX)
    torch.manual_seed(1)
    if negatives == "uniform":
        rows = draw_uniform(INDEX, K, M).tolist()
    elif negatives == "other_class":
        rows = contrast.sampler.others(INDEX, K).tolist()
    elif negatives == "shared":
        drawn = draw_shared(K, M).tolist()
        rows = [[j for j in drawn if j != i] for i in INDEX.tolist()]
    elif negatives == "shared_other_class":
        drawn = draw_shared(K, M).tolist()
        rows = [[j for j in drawn if j % 3 != i % 3] for i in INDEX.tolist()]
    else:  # K/(M − 1) of every other row: with K = 2·(M − 1), each of them twice
        contrast.sampler.num_negatives = 2 * (M - 1)
        value = contrast(z_s, z_t, INDEX)
        rows = [[j for j in range(M) if j != i] * 2 for i in INDEX.tolist()]
    pairs = [
        [
            (naive.score(z[b], z_t[b]), [naive.score(z[b], bank[j]) for j in rows[b]])
            for b in range(len(INDEX))
        ]
        for z in (z_s, z_t)
    ]
    assert value.item() == pytest.approx(naive.relational(*pairs, **TAUS), rel=1e-6)


def test_the_batch_equals_naive_loops_and_the_dense_form(
    naive: ModuleType, unit: Callable[..., Tensor]
) -> None:
    z_s, z_t = unit(3, D), unit(3, D)
    value = make("batch")(z_s, z_t, INDEX)
    pairs = naive.batch_pairs(z_s, z_t, INDEX), naive.batch_pairs(z_t, z_t, INDEX)
    assert value.item() == pytest.approx(naive.relational(*pairs, **TAUS), rel=1e-6)
    others = torch.stack([z_t[[j for j in range(3) if j != i]] for i in range(3)])
    expected = in_torch(z_s, z_t, others)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, z_s), torch.autograd.grad(expected, z_s))
    # In another order of the batch it is the same.
    order = torch.tensor([2, 0, 1])
    again = make("batch")(z_s[order], z_t[order], INDEX[order])
    assert again.item() == pytest.approx(value.item())


def test_a_sample_alone_has_no_loss(unit: Callable[..., Tensor]) -> None:
    z_s, z_t = unit(1, D), unit(1, D)
    value = make("batch")(z_s, z_t, INDEX[:1])
    value.backward()
    assert value.abs() < 1e-12 and z_s.grad.abs().max() < 1e-12 and z_t.grad is None


def test_equal_vectors_are_finite() -> None:
    same = torch.zeros(3, D).double()
    same[:, 0] = 1
    z_s = same.clone().requires_grad_()
    value = make("batch")(z_s, same, INDEX)
    value.backward()
    assert value.item() == pytest.approx(constant_loss(2, "relational")) and z_s.grad.isfinite().all()


def test_local_global_equals_naive_loops(naive: ModuleType, unit: Callable[..., Tensor]) -> None:
    contrast = LocalGlobalContrast(D, queue_size=6, objective="relational", **TAUS).double()
    early, s_old, t_old = torch.tensor([7, 5, 8]), unit(3, D), unit(3, D)
    contrast.update(early, s_old, t_old)  # image 8 is no candidate for itself
    s_map, s_global, t_map, t_global = unit(3, D, 2, 3), unit(3, D), unit(3, D, 1, 2), unit(3, D)
    value = contrast(s_map, s_global, t_map, t_global, INDEX)
    queue = list(zip(early.tolist(), t_old, strict=True))
    index = INDEX.tolist()

    def pairs(z_map: Tensor) -> list[tuple[float, list[float]]]:
        found: list[tuple[float, list[float]]] = naive.local_global_pairs(z_map, t_global, index, queue)
        return found

    spread = t_global[:, :, None, None].expand(3, D, 2, 3)
    whole = pairs(s_global[:, :, None, None]), pairs(t_global[:, :, None, None])
    expected = naive.relational(pairs(s_map), pairs(spread), **TAUS) + naive.relational(*whole, **TAUS)
    assert value.item() == pytest.approx(expected / 2, rel=1e-6)
    value.backward()
    assert s_map.grad.abs().max() > 0 and s_global.grad.abs().max() > 0
    assert t_map.grad is None and t_global.grad is None


def test_dense_equals_naive_loops(naive: ModuleType, unit: Callable[..., Tensor]) -> None:
    contrast = DenseContrast(D, queue_size=10, num_positions=None, objective="relational", **TAUS).double()
    early = torch.tensor([8, 5])
    t_old = unit(2, D, 2, 2)
    contrast.update(early, unit(2, D, 2, 2), t_old)
    s_map, t_map = unit(3, D, 2, 2), unit(3, D, 2, 2)
    value = contrast(s_map, t_map, INDEX)
    queue = [(int(early[b]), t_old[b, :, h, w]) for b in range(2) for h in range(2) for w in range(2)]
    pairs = [naive.dense_pairs(z_map, t_map, INDEX, queue) for z_map in (s_map, t_map)]
    assert value.item() == pytest.approx(naive.relational(*pairs, **TAUS), rel=1e-6)
    assert torch.autograd.gradcheck(lambda z_map: contrast(z_map, t_map, INDEX), (s_map,))


def test_save_load_step_equals_step_step(unit: Callable[..., Tensor]) -> None:
    first, second = (unit(3, D), unit(3, D)), (unit(3, D), unit(3, D))
    contrast, resumed = make("all"), make("all")
    contrast(*first, INDEX)
    contrast.update(INDEX, *first)
    resumed.load_state_dict(contrast.state_dict())
    assert torch.equal(contrast(*second, INDEX), resumed(*second, INDEX))
    untouched = [i for i in range(M) if i not in INDEX]
    before = contrast.bank_teacher.rows.clone()
    contrast.update(INDEX, *second)
    assert torch.equal(contrast.bank_teacher.rows[untouched], before[untouched])


def test_the_teachers_head_is_fixed_and_keeps_similarities() -> None:
    heads = CriticHeads(5, 6, 8, learn_teacher=False)
    student, teacher = torch.randn(4, 5), torch.randn(4, 6)
    z_s, z_t = heads(student, teacher)
    z = F.normalize(teacher, dim=1)
    torch.testing.assert_close(z_t @ z_t.T, z @ z.T)
    assert z_s.requires_grad and not z_t.requires_grad
    loss = CRDLoss(5, 6, 20, objective="relational", negatives="batch")
    loss(student, teacher, torch.arange(4)).backward()
    trained = {name for name, p in loss.named_parameters() if p.grad is not None}
    assert trained == {"heads.student.weight", "heads.student.bias"}
    assert trained == {name for name, p in loss.named_parameters() if p.requires_grad}


def test_wrong_temperatures_are_named() -> None:
    with pytest.raises(ValueError, match=r"teacher_temperature must be positive, got 0\.0"):
        make("batch", teacher_temperature=0.0)


def test_a_student_learns_the_teachers_similarities() -> None:
    """A linear map of the teacher's features is found, and the critic orders pairs it never saw."""
    torch.manual_seed(0)
    teacher = torch.randn(64, 16)
    student = teacher @ torch.randn(16, 12) / 4
    heads = CriticHeads(12, 16, 16, learn_teacher=False)
    contrast = InstanceContrast(64, ContrastConfig(16, objective="relational", negatives="all", **TAUS))
    optimizer = torch.optim.Adam(heads.student.parameters(), lr=0.02)
    for _ in range(60):
        index = torch.randperm(64)[:32]
        z_s, z_t = heads(student[index], teacher[index])
        loss = contrast(z_s, z_t, index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        contrast.update(index, z_s.detach(), z_t)
    assert contrast.diagnostics()["critic_accuracy"] > 0.95
