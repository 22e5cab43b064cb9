"""Groups (recordings, scenes): naive loops that pass over the own one, for every kind of contrast."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from crdkit.contrast import ContrastConfig, CRDLoss, DenseContrast, InstanceContrast, LocalGlobalContrast
from crdkit.contrast.negatives import OtherClass, SampleIds, draw_shared

M, D, K, TAU = 12, 4, 6, 0.5
INDEX = torch.tensor([3, 0, 8, 9])
GROUPS = torch.tensor([-5, -5, 7, 7, 7, 0, 0, 0, 40, 7, -5, 40])  # of the batch: 7, −5, 40, 7
OWN = GROUPS[INDEX].tolist()
objectives = pytest.mark.parametrize("objective", ["nce", "infonce"])


def make(negatives: str, objective: str, num_negatives: int = K) -> InstanceContrast:
    return InstanceContrast(
        M,
        ContrastConfig(
            D, num_negatives=num_negatives, temperature=TAU, objective=objective, negatives=negatives
        ),
        groups=GROUPS,
    ).double()


def bank_loss(
    naive: ModuleType,
    contrast: InstanceContrast,
    z: tuple[Tensor, Tensor],
    rows: list[list[int]],
    **rule: Any,
) -> float:
    """Each anchor b against rows[b] of the other side's bank."""
    assert contrast.bank_student is not None and contrast.bank_teacher is not None
    total = 0.0
    for anchors, bank in zip(z, (contrast.bank_teacher.rows, contrast.bank_student.rows), strict=True):
        pairs = []
        for b, i in enumerate(INDEX.tolist()):
            scores = [naive.score(anchors[b], bank[j]) for j in (i, *rows[b])]
            pairs.append((scores[0], scores[1:]))
        total += naive.direction(pairs, temperature=TAU, num_samples=M, **rule)
    return total


@objectives
@pytest.mark.parametrize("negatives", ["other_group", "shared_other_group", "all"])
def test_a_bank_without_the_own_group_equals_naive_loops(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str, negatives: str
) -> None:
    z = unit(4, D), unit(4, D)
    num_negatives = 2 * (M - 1) if negatives == "all" else K  # so that each row stands for two
    contrast = make(negatives, objective, num_negatives)
    torch.manual_seed(1)
    value = contrast(*z, INDEX)
    torch.manual_seed(1)
    if negatives == "other_group":
        rows = OtherClass(GROUPS)(INDEX, K).tolist()
    elif negatives == "all":
        rows = [2 * list(range(M))] * 4
    else:
        rows = [draw_shared(K, M).tolist()] * 4
    rows = [[j for j in row if GROUPS[j] != own] for row, own in zip(rows, OWN, strict=True)]
    if negatives == "other_group":
        assert all(len(row) == K for row in rows)
    expected = bank_loss(naive, contrast, z, rows, objective=objective, num_negatives=num_negatives)
    assert value.item() == pytest.approx(expected, rel=1e-6)


@objectives
def test_a_batch_without_the_own_group_equals_naive_loops(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str
) -> None:
    z_s, z_t = unit(4, D), unit(4, D)
    rule = {"objective": objective, "temperature": TAU, "num_samples": M, "num_negatives": 3}
    expected = naive.direction(naive.batch_pairs(z_s, z_t, OWN), **rule) + naive.direction(
        naive.batch_pairs(z_t, z_s, OWN), **rule
    )
    assert make("batch", objective)(z_s, z_t, INDEX).item() == pytest.approx(expected, rel=1e-6)


@objectives
def test_local_global_without_the_own_group_equals_naive_loops(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str
) -> None:
    """Image 2 in the queue is of the group of the images 3 and 9."""
    contrast = LocalGlobalContrast(
        D, queue_size=5, temperature=TAU, objective=objective, groups=GROUPS
    ).double()
    early, s_old, t_old = torch.tensor([5, 2]), unit(2, D), unit(2, D)
    contrast.update(early, s_old, t_old)
    s_map, s, t_map, t = unit(4, D, 2, 1), unit(4, D), unit(4, D, 1, 3), unit(4, D)
    s_queue, t_queue = (list(zip(GROUPS[early].tolist(), old, strict=True)) for old in (s_old, t_old))
    rule = {"objective": objective, "temperature": TAU, "num_samples": 1, "num_negatives": 3 + 2}
    expected = naive.direction(naive.local_global_pairs(s_map, t, OWN, t_queue), **rule) + naive.direction(
        naive.local_global_pairs(t_map, s, OWN, s_queue), **rule
    )
    assert contrast(s_map, s, t_map, t, INDEX).item() == pytest.approx(expected, rel=1e-6)


@objectives
def test_dense_without_the_own_group_equals_naive_loops(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str
) -> None:
    contrast = DenseContrast(
        D, queue_size=10, num_positions=None, temperature=TAU, objective=objective, groups=GROUPS
    ).double()
    early, s_old, t_old = torch.tensor([2, 6]), unit(2, D, 2, 1), unit(2, D, 2, 1)
    contrast.update(early, s_old, t_old)
    s_map, t_map = unit(4, D, 2, 1), unit(4, D, 2, 1)
    queues = [
        [(int(GROUPS[early[b]]), old[b, :, h, 0]) for b in range(2) for h in range(2)]
        for old in (s_old, t_old)
    ]
    rule = {"objective": objective, "temperature": TAU, "num_samples": 1, "num_negatives": 8 + 4 - 2}
    expected = naive.direction(naive.dense_pairs(s_map, t_map, OWN, queues[1]), **rule) + naive.direction(
        naive.dense_pairs(t_map, s_map, OWN, queues[0]), **rule
    )
    assert contrast(s_map, t_map, INDEX).item() == pytest.approx(expected, rel=1e-6)


@objectives
@pytest.mark.parametrize("negatives", ["batch", "all", "shared_other_group"])
def test_groups_of_one_sample_change_nothing(
    unit: Callable[..., Tensor], objective: str, negatives: str
) -> None:
    z_s, z_t = unit(4, D), unit(4, D)
    options = {"num_negatives": K, "temperature": TAU, "objective": objective}
    single = InstanceContrast(
        M, ContrastConfig(D, negatives=negatives, **options), groups=torch.arange(M)
    ).double()
    plain = InstanceContrast(
        M, ContrastConfig(D, negatives=negatives.removesuffix("_other_group"), **options)
    ).double()
    plain.load_state_dict(single.state_dict())
    values = []
    for each in (single, plain):
        torch.manual_seed(2)
        values.append(each(z_s, z_t, INDEX))
    torch.testing.assert_close(*values)


@objectives
def test_a_batch_of_one_group_has_no_negatives(unit: Callable[..., Tensor], objective: str) -> None:
    index = torch.tensor([2, 4, 9])
    z_s, z_t = unit(3, D), unit(3, D)
    contrast = make("batch", objective)
    value = contrast(z_s, z_t, index)
    value.backward()
    assert value.isfinite() and z_s.grad is not None and z_s.grad.isfinite().all()
    if objective == "infonce":
        assert value == 0 and (z_s.grad == 0).all()
    else:
        assert contrast.critic_student.partition is not None
        assert not contrast.critic_student.partition.fixed
    assert contrast.diagnostics() == {}


def test_with_groups_those_are_the_default() -> None:
    assert (
        InstanceContrast(M, ContrastConfig(D, num_negatives=K), groups=GROUPS).config.negatives
        == "other_group"
    )
    assert CRDLoss(3, 3, M, objective="nce", groups=GROUPS).contrast.config.negatives == "other_group"
    few = InstanceContrast(M, ContrastConfig(D), groups=GROUPS)
    assert few.config.negatives == "batch" and few.sampler.samples.ids is not None
    both = InstanceContrast(
        M, ContrastConfig(D, negatives="other_class"), labels=torch.arange(M) % 3, groups=GROUPS
    )
    assert torch.equal(both.sampler.others.labels, torch.arange(M) % 3)


def test_the_state_has_no_groups() -> None:
    """They are the data set's: a checkpoint must not bring another data set's along."""
    for loss in (CRDLoss(3, 3, M, num_negatives=K, groups=GROUPS), DenseContrast(D, groups=GROUPS)):
        assert not any("ids" in name and "queue" not in name for name in loss.state_dict())
        assert not any("others" in name for name in loss.state_dict())


def test_bad_groups_are_named(unit: Callable[..., Tensor]) -> None:
    one = torch.full((M,), 40)
    for kind in ("other_group", "shared_other_group", "all", "batch"):
        with pytest.raises(ValueError, match="40"):
            InstanceContrast(M, ContrastConfig(D, negatives=kind), groups=one)
    for spatial in (LocalGlobalContrast, DenseContrast):
        with pytest.raises(ValueError, match="40"):
            spatial(D, groups=one)
        with pytest.raises(ValueError, match=r"groups.*float32"):
            spatial(D, groups=torch.rand(M))
    with pytest.raises(ValueError, match=r"groups.*12.*5"):
        InstanceContrast(M, ContrastConfig(D, negatives="batch"), groups=GROUPS[:5])
    with pytest.raises(ValueError, match="groups"):
        InstanceContrast(M, ContrastConfig(D, negatives="other_group"))
    for kind in ("uniform", "shared"):
        with pytest.raises(ValueError, match="other_group"):
            InstanceContrast(M, ContrastConfig(D, negatives=kind), groups=GROUPS)
    dense = DenseContrast(D, groups=GROUPS).double()
    with pytest.raises(IndexError, match=r"index.*12"):
        dense(unit(1, D, 1, 1), unit(1, D, 1, 1), torch.tensor([12]))
    assert SampleIds(GROUPS)(INDEX).tolist() == [2, 0, 3, 2]
