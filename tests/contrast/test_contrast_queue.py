"""Contrast of one vector per sample with the batch and a queue of the latest vectors."""

from typing import Any

import pytest
import torch
from torch import Tensor

from crdkit.contrast import ContrastConfig, CRDLoss, DenseContrast, InstanceContrast, normalize

D, LENGTH, TAU = 6, 7, 0.3


def batches(sizes: tuple[int, ...] = (4, 3, 5), samples: int = 30) -> list[tuple[Tensor, Tensor, Tensor]]:
    torch.manual_seed(0)
    made = []
    for size in sizes:
        z_s, z_t = (normalize(torch.randn(size, D, dtype=torch.float64)) for _ in range(2))
        made.append((z_s, z_t, torch.randint(samples, (size,))))
    made[-1][2][1] = made[-1][2][0]  # a sample twice in a batch
    made[1][2][0] = made[0][2][0]  # and one of the batch before
    return made


def make(groups: Tensor | None = None, **options: Any) -> InstanceContrast:
    options = {"objective": "infonce"} | options
    config = ContrastConfig(D, num_negatives=LENGTH, temperature=TAU, negatives="queue", **options)
    return InstanceContrast(30, config, groups=groups).double()


def naive(z: Tensor, true: Tensor, own: Tensor, noise: list[tuple[int, Tensor]]) -> Tensor:
    """−log e^{s⁺/τ} / (e^{s⁺/τ} + Σ e^{s⁻/τ}), anchor by anchor and pair by pair."""
    total = torch.zeros((), dtype=z.dtype)
    for anchor, positive, who in zip(z, true, own.tolist(), strict=True):
        score = (anchor @ positive) / TAU
        others = [(anchor @ vector) / TAU for owner, vector in noise if owner != who]
        if others:
            total = total + torch.logsumexp(torch.stack([score, *others]), 0) - score
    return total / len(z)


def test_it_is_the_double_loop_over_the_batch_and_the_latest_vectors() -> None:
    contrast = make()
    queues: dict[str, list[tuple[int, Tensor]]] = {"s": [], "t": []}
    for z_s, z_t, index in batches():
        now = {
            "s": list(zip(index.tolist(), z_s, strict=True)),
            "t": list(zip(index.tolist(), z_t, strict=True)),
        }
        expected = naive(z_s, z_t, index, now["t"] + queues["t"])
        expected = expected + naive(z_t, z_s, index, now["s"] + queues["s"])
        torch.testing.assert_close(contrast(z_s, z_t, index), expected, rtol=1e-6, atol=0)
        contrast.update(index, z_s, z_t)
        queues = {side: (queues[side] + now[side])[-LENGTH:] for side in queues}
    assert contrast.bank_student is None and contrast.bank_teacher is None and not contrast.keeps_samples


@pytest.mark.parametrize("objective", ["nce", "infonce", "relational"])
def test_it_is_the_dense_contrast_of_maps_of_one_position(objective: str) -> None:
    one = make(objective=objective)
    other = DenseContrast(D, queue_size=LENGTH, temperature=TAU, objective=objective).double()
    for z_s, z_t, index in batches((4, 3, 5)):
        z_s = z_s.requires_grad_()
        maps = z_s[:, :, None, None], z_t[:, :, None, None]
        losses = one(z_s, z_t, index), other(*maps, index)
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-9)  # Z is kept in fp32
        grads = [torch.autograd.grad(loss, z_s, retain_graph=True)[0] for loss in losses]
        torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-7)
        one.update(index, z_s, z_t)
        other.update(index, *maps)


def test_gradients_reach_both_sides_and_not_the_queue() -> None:
    contrast = make()
    first, second, _ = batches()
    contrast(*first)
    contrast.update(first[2], first[0], first[1])
    z_s, z_t, index = second
    assert torch.autograd.gradcheck(
        lambda a, b: contrast(a, b, index), (z_s.requires_grad_(), z_t.requires_grad_())
    )


def test_its_state_is_the_queues() -> None:
    contrast, again = make(), make()
    for z_s, z_t, index in batches():
        contrast(z_s, z_t, index)
        contrast.update(index, z_s, z_t)
    names = {name.rpartition("queue.")[2] for name in contrast.state_dict() if "queue" in name}
    assert names == {"rows", "ids", "write_position"}
    again.load_state_dict(contrast.state_dict())
    z_s, z_t, index = batches()[0]
    assert torch.equal(again(z_s, z_t, index), contrast(z_s, z_t, index))


def test_a_group_is_no_negative_of_itself() -> None:
    groups = torch.arange(30) // 10
    contrast = make(groups=groups)
    z_s, z_t, index = batches()[0]
    index = torch.tensor([0, 1, 2, 3])  # all of one group
    assert float(contrast(z_s, z_t, index)) == 0
    contrast.update(index, z_s, z_t)
    assert contrast.recent_teacher.queue is not None
    assert contrast.recent_teacher.queue.ids[:4].tolist() == [0, 0, 0, 0]
    assert float(contrast(z_s, z_t, index)) == 0
    assert float(contrast(z_s, z_t, index + 20)) > 0


def test_what_it_does_not_go_with_is_told() -> None:
    with pytest.raises(ValueError, match="negative_index"):
        make()(*batches()[0], negative_index=torch.zeros(4, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="mapped"):
        make(bank="mapped")
    loss = CRDLoss(student_dim=4, teacher_dim=4, num_samples=10**9, negatives="queue", num_negatives=64)
    student, teacher = torch.randn(8, 4), torch.randn(8, 4)
    assert loss(student, teacher, torch.arange(8) + 10**8).isfinite()
