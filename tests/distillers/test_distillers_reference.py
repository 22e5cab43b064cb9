"""Agreement with the published code, whose losses and gradients are in reference/losses.npz."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crdkit.distillers import VID
from crdkit.distillers import functional as D

PUBLISHED = np.load(Path(__file__).parents[1] / "reference" / "losses.npz")


def published(name: str, side: str) -> list[Tensor]:
    keys = sorted(key for key in PUBLISHED.files if key.startswith(f"{name}/{side}_"))
    return [torch.from_numpy(PUBLISHED[key]) for key in keys]


def first(loss: Callable[..., Tensor], **settings: float) -> Callable[..., Tensor]:
    return lambda s, t: loss(s[0], t[0], **settings)


def vid(students: list[Tensor], teachers: list[Tensor]) -> Tensor:
    module = VID(students[0].shape[1], teachers[0].shape[1])
    module.load_state_dict({key: torch.from_numpy(PUBLISHED[f"vid/{key}"]) for key in module.state_dict()})
    return D.vid(*((x,) for x in module(students[0], teachers[0])))


LOSSES = {
    "kd": first(D.kd, temperature=float(PUBLISHED["kd/temperature"])),
    "fitnet": first(D.fitnet),
    "at": D.attention,
    "nst": D.nst,
    "sp": first(D.similarity),
    "cc": first(D.correlation),
    "rkd": first(D.rkd),
    "pkt": first(D.pkt),
    "ab": D.activation_boundary,
    "ft": first(D.factor),
    "fsp": D.fsp,
    "vid": vid,
}


def test_every_published_loss_is_compared() -> None:
    assert {key.split("/")[0] for key in PUBLISHED.files} == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_agrees_with_the_published_code(name: str) -> None:
    students = [s.requires_grad_() for s in published(name, "student")]
    value = LOSSES[name](students, published(name, "teacher"))
    value.backward()
    torch.testing.assert_close(value.detach(), torch.from_numpy(PUBLISHED[f"{name}/loss"]), rtol=1e-5, atol=0)
    for student, expected in zip(students, published(name, "grad"), strict=True):
        assert student.grad is not None
        torch.testing.assert_close(student.grad, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_vid_starts_at_the_published_variance() -> None:
    torch.testing.assert_close(VID(12, 20).log_scale.detach(), torch.from_numpy(PUBLISHED["vid/log_scale"]))
