"""NaN and infinity in a batch: refused by sample, and the memory as it was."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crdkit.contrast import (
    ContrastConfig,
    CRDLoss,
    DenseContrast,
    FeatureQueue,
    InstanceContrast,
    LocalGlobalContrast,
    MemoryBank,
)
from crdkit.contrast.critic import Critic

D = 4
INDEX = torch.tensor([7, 1, 5])
wrong = pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: x.clone() for name, x in module.state_dict().items()}


def unchanged(module: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(x, before[name]) for name, x in module.state_dict().items())


@wrong
@pytest.mark.parametrize("side", [0, 1], ids=["student", "teacher"])
@pytest.mark.parametrize("negatives", ["uniform", "shared", "all", "batch"])
@pytest.mark.parametrize("steps", [0, 1])
def test_a_loss_refuses_the_sample_by_name(value: float, side: int, negatives: str, steps: int) -> None:
    """Whether or not Z is fixed yet; the next batch goes on as if this one had never been."""
    crd = CRDLoss(6, 6, 20, embed_dim=D, negatives=negatives)
    for _ in range(steps):
        crd(torch.randn(3, 6), torch.randn(3, 6), INDEX + 2)
    before, batch = state(crd), [torch.randn(3, 6), torch.randn(3, 6)]
    batch[side][2, 4] = value
    with pytest.raises(ValueError, match=rf"{('student', 'teacher')[side]}.*row 2 .*index 5"):
        crd(*batch, INDEX)
    assert unchanged(crd, before)
    assert crd(torch.randn(3, 6), torch.randn(3, 6), INDEX).isfinite()


def test_many_samples_are_counted() -> None:
    crd = CRDLoss(6, 6, 20, embed_dim=D)
    with pytest.raises(ValueError, match=r"row 0.*index 0.*row 1.*row 2.*4 more"):
        crd(torch.full((7, 6), math.nan), torch.randn(7, 6), torch.arange(7))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_before(dtype: torch.dtype) -> None:
    """A loss in fp32 of features in half precision, and one in bf16, within the precision of bf16."""
    batch = torch.randn(3, 6), torch.randn(3, 6)
    values = []
    for kind, own in ((torch.float32, torch.float32), (dtype, torch.float32), (dtype, dtype)):
        torch.manual_seed(0)
        crd = CRDLoss(6, 6, 20, embed_dim=D, num_negatives=64).to(own)
        student = batch[0].to(kind, copy=True).requires_grad_()
        values.append(crd(student, batch[1].to(kind), INDEX))
        values[-1].backward()
        assert student.grad is not None and student.grad.isfinite().all()
    whole, *halves = (value.item() for value in values)
    assert halves == pytest.approx([whole, whole], rel=0.05)


@wrong
def test_an_update_refuses_before_it_writes_either_bank(value: float, unit: Callable[..., Tensor]) -> None:
    contrast = InstanceContrast(20, ContrastConfig(D, num_negatives=64)).double()
    before, z_t = state(contrast), unit(3, D).detach()
    z_t[1, 3] = value
    with pytest.raises(ValueError, match=r"teacher.*row 1 .*index 1\b"):
        contrast.update(INDEX, unit(3, D), z_t)
    assert unchanged(contrast, before)


@wrong
@pytest.mark.parametrize("kind", ["local", "dense"])
def test_queues_refuse_likewise(value: float, kind: str, unit: Callable[..., Tensor]) -> None:
    dense = kind == "dense"
    make = DenseContrast if dense else LocalGlobalContrast
    contrast = make(D, queue_size=6).double()
    maps, vectors = (unit(3, D, 2, 2), unit(3, D, 2, 2)), (unit(3, D), unit(3, D))
    contrast.update(INDEX[:2], *(x[:2] for x in (maps if dense else vectors)))
    before = state(contrast)
    spoiled = [x.detach().clone() for x in (maps if dense else vectors)]
    spoiled[1][0, 2] = value
    with pytest.raises(ValueError, match=r"teacher.*index 7"):
        if dense:
            contrast(*spoiled, INDEX)
        else:
            contrast(maps[0], vectors[0], maps[1], spoiled[1], INDEX)
    with pytest.raises(ValueError, match=r"teacher.*index 7"):
        contrast.update(INDEX, *spoiled)
    assert unchanged(contrast, before)


@wrong
def test_what_a_gpu_does_without_asking(value: float) -> None:
    """The bank leaves the row as it is, the queue leaves the place empty, and Z waits for another batch."""
    bank, clean = MemoryBank(20, D), MemoryBank(20, D)
    clean.load_state_dict(bank.state_dict())
    z = F.normalize(torch.randn(3, D), dim=1)
    clean.update(INDEX[[0, 2]], z[[0, 2]])
    z[1, 0] = value
    bank.update(INDEX, z)
    assert torch.equal(bank.rows, clean.rows)

    queue = FeatureQueue(5, D)
    queue.push(INDEX, z)
    assert queue.ids.tolist() == [7, -1, 5, -1, -1] and torch.equal(queue.rows[[0, 2]], z[[0, 2]])
    assert queue.rows.isfinite().all()

    critic, good = Critic(20, temperature=0.1, objective="nce"), F.normalize(torch.randn(3, D), dim=1)
    assert critic.partition is not None
    assert not critic(z, good, bank.rows, num_negatives=8, anchor_ids=INDEX).isfinite()
    assert not critic.partition.fixed and critic.partition.log_z == 0
    assert critic(good, good, bank.rows, num_negatives=8, anchor_ids=INDEX).isfinite()
    assert critic.partition.fixed and critic.partition.log_z.isfinite()
