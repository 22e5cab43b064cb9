"""Agreement with two consecutive steps of the published code, whose numbers are in reference/crd.npz."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crdkit.contrast import CRDLoss


@pytest.fixture
def published(reference: Path) -> dict[str, Tensor]:
    with np.load(reference / "crd.npz") as arrays:
        return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def prepared(published: dict[str, Tensor]) -> CRDLoss:
    loss = CRDLoss(
        published["Ws"].shape[1],
        published["Wt"].shape[1],
        int(published["N"]),
        embed_dim=int(published["feat_dim"]),
        num_negatives=int(published["K"]),
        temperature=float(published["temperature"]),
        momentum=float(published["momentum"]),
    )
    state = loss.state_dict()
    state["heads.student.weight"], state["heads.student.bias"] = published["Ws"], published["bs"]
    state["heads.teacher.weight"], state["heads.teacher.bias"] = published["Wt"], published["bt"]
    state["contrast.bank_student.rows"] = published["bank_student_0"]
    state["contrast.bank_teacher.rows"] = published["bank_teacher_0"]
    loss.load_state_dict(state)
    return loss


def relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("plan", ["native", "product", "gather"])
def test_two_published_steps(
    published: dict[str, Tensor], plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if plan != "native":
        monkeypatch.setattr("crdkit.contrast.native.fits", lambda z, noise: False)
    monkeypatch.setattr("crdkit.contrast.scores.prefers_product", lambda rows, draws: plan == "product")
    loss = prepared(published)
    for step in ("1", "2"):
        features = published[f"fs_{step}"].clone().requires_grad_()
        loss.zero_grad()
        value = loss(
            features,
            published[f"ft_{step}"],
            published[f"y_{step}"],
            negative_index=published[f"idx_{step}"][:, 1:],
        )
        value.backward()
        assert relative(value.detach(), published[f"loss_{step}"]) < 1e-5
        assert relative(features.grad, published[f"grad_fs_{step}"]) < 1e-4
        assert relative(loss.heads.student.weight.grad, published[f"grad_Ws_{step}"]) < 1e-4
        assert relative(loss.heads.teacher.weight.grad, published[f"grad_Wt_{step}"]) < 1e-4
        critics = loss.contrast.critic_student, loss.contrast.critic_teacher
        for critic, name in zip(critics, ("student_anchor", "teacher_anchor"), strict=True):
            assert relative(critic.partition.log_z.exp(), published[f"Z_{name}_{step}"]) < 1e-5
        assert relative(loss.contrast.bank_student.rows, published[f"bank_student_{step}"]) < 1e-5
        assert relative(loss.contrast.bank_teacher.rows, published[f"bank_teacher_{step}"]) < 1e-5


def test_the_state_names_the_sides(published: dict[str, Tensor]) -> None:
    assert set(prepared(published).state_dict()) == {
        "heads.student.weight",
        "heads.student.bias",
        "heads.teacher.weight",
        "heads.teacher.bias",
        "contrast.bank_student.rows",
        "contrast.bank_teacher.rows",
        "contrast.critic_student.partition.fixed",
        "contrast.critic_student.partition.log_z",
        "contrast.critic_teacher.partition.fixed",
        "contrast.critic_teacher.partition.log_z",
        "contrast.monitor.count",
        "contrast.monitor.means",
    }


def test_first_loss_of_the_published_setting() -> None:
    """2·(log K + 1 + 1/(2dτ²)): s/τ is N(0, 1/(dτ²)) against the bank's start, so log mean e^{s/τ} is half
    the variance, and the K noise pairs of σ(ℓ) = 1/K each add up to 1."""
    loss = CRDLoss(64, 64, 50_000)
    value = loss(torch.randn(8, 64), torch.randn(8, 64), torch.arange(8))
    expected = 2 * (math.log(16_384) + 1 + 1 / (2 * 128 * 0.07**2))
    assert value.item() == pytest.approx(expected, abs=1)


def test_eval_mode_writes_nothing() -> None:
    loss = CRDLoss(4, 6, 20, embed_dim=8, num_negatives=16)
    batch = torch.randn(3, 4), torch.randn(3, 6), torch.tensor([1, 5, 7])
    loss.eval()
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss(*batch)
    for name, value in loss.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    loss.train()
    loss(*batch)
    assert not torch.equal(
        loss.state_dict()["contrast.bank_student.rows"], before["contrast.bank_student.rows"]
    )
