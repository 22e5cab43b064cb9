"""Agreement with two consecutive steps of the published code, whose numbers are in reference/crd.npz."""

from pathlib import Path

import numpy as np
import pytest
import torch
from crdkit.contrast import CRDLoss
from torch import Tensor

REFERENCE = Path(__file__).parents[1] / "reference" / "crd.npz"


@pytest.fixture
def reference() -> dict[str, Tensor]:
    with np.load(REFERENCE) as arrays:
        return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def prepared(reference: dict[str, Tensor]) -> CRDLoss:
    loss = CRDLoss(
        reference["Ws"].shape[1],
        reference["Wt"].shape[1],
        int(reference["N"]),
        embed_dim=int(reference["feat_dim"]),
        num_negatives=int(reference["K"]),
        temperature=float(reference["temperature"]),
        momentum=float(reference["momentum"]),
    )
    state = loss.state_dict()
    state["heads.student.weight"], state["heads.student.bias"] = reference["Ws"], reference["bs"]
    state["heads.teacher.weight"], state["heads.teacher.bias"] = reference["Wt"], reference["bt"]
    state["contrast.bank_student.rows"] = reference["bank_student_0"]
    state["contrast.bank_teacher.rows"] = reference["bank_teacher_0"]
    loss.load_state_dict(state)
    return loss


def relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("product", [True, False], ids=["product", "gather"])
def test_two_published_steps(
    reference: dict[str, Tensor], product: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crdkit.contrast.scores.prefers_product", lambda rows, draws: product)
    loss = prepared(reference)
    for step in ("1", "2"):
        features = reference[f"fs_{step}"].clone().requires_grad_()
        loss.zero_grad()
        value = loss(
            features,
            reference[f"ft_{step}"],
            reference[f"y_{step}"],
            negative_index=reference[f"idx_{step}"][:, 1:],
        )
        value.backward()
        assert relative(value.detach(), reference[f"loss_{step}"]) < 1e-5
        assert relative(features.grad, reference[f"grad_fs_{step}"]) < 1e-4
        assert relative(loss.heads.student.weight.grad, reference[f"grad_Ws_{step}"]) < 1e-4
        assert relative(loss.heads.teacher.weight.grad, reference[f"grad_Wt_{step}"]) < 1e-4
        critics = loss.contrast.critic_student, loss.contrast.critic_teacher
        for critic, name in zip(critics, ("student_anchor", "teacher_anchor"), strict=True):
            assert relative(critic.partition.log_z.exp(), reference[f"Z_{name}_{step}"]) < 1e-5
        assert relative(loss.contrast.bank_student.rows, reference[f"bank_student_{step}"]) < 1e-5
        assert relative(loss.contrast.bank_teacher.rows, reference[f"bank_teacher_{step}"]) < 1e-5


def test_the_state_names_the_sides(reference: dict[str, Tensor]) -> None:
    assert set(prepared(reference).state_dict()) == {
        "heads.student.weight",
        "heads.student.bias",
        "heads.teacher.weight",
        "heads.teacher.bias",
        "contrast.bank_student.rows",
        "contrast.bank_teacher.rows",
        "contrast.critic_student.partition.log_z",
        "contrast.critic_teacher.partition.log_z",
    }


def test_first_loss_of_the_published_setting() -> None:
    """The published code starts at about 21.4 at K=16,384, M=50,000."""
    torch.manual_seed(0)
    loss = CRDLoss(64, 64, 50_000)
    value = loss(torch.randn(8, 64), torch.randn(8, 64), torch.arange(8))
    assert value.item() == pytest.approx(21.4, abs=0.5)


def test_eval_mode_writes_nothing() -> None:
    torch.manual_seed(0)
    loss = CRDLoss(4, 6, 20, embed_dim=8, num_negatives=16)
    batch = torch.randn(3, 4), torch.randn(3, 6), torch.tensor([1, 5, 7])
    loss.eval()
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss(*batch)
    for name, value in loss.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)
    loss.train()
    loss(*batch)
    assert not torch.equal(loss.state_dict()["contrast.bank_student.rows"], before["contrast.bank_student.rows"])
