"""Errors of the trial step: the user's with the method's name, the program's as they are."""

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from crdkit.common import UserError
from crdkit.data import DataError, PairedTensors
from crdkit.engine import Task, TrainConfig
from crdkit.pipelines import Stage, trial_step


class Failing(Task):
    """Raises an error, or computes with batch normalization."""

    def __init__(self, error: Exception | None = None) -> None:
        self.module, self.weights, self.error = (
            nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2)),
            {"a": 1.0},
            error,
        )

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        if self.error is not None:
            raise self.error
        return {"a": module(batch["x"].flatten(1)).sum()}, None


def step(task: Task, samples: int) -> None:
    data = PairedTensors(x=torch.zeros(samples, 1, 1, 1))
    trial_step(Stage(task, data), TrainConfig(batch_size=4), Accelerator(cpu=True), what="crd+kd")


@pytest.mark.parametrize("kind", [ValueError, TypeError, AttributeError, RuntimeError, IndexError, KeyError])
def test_an_error_of_the_program_is_raised_as_it_is_with_the_method_in_a_note(kind: type[Exception]) -> None:
    with pytest.raises(kind) as found:
        step(Failing(kind("planted")), 8)
    assert found.type is kind and any("crd+kd" in note for note in found.value.__notes__)


def test_an_error_of_the_user_names_the_method_and_keeps_its_type() -> None:
    with pytest.raises(DataError, match=r"crd\+kd.*recording 3") as found:
        step(Failing(DataError("recording 3")), 8)
    assert found.type is DataError


def test_a_last_batch_of_one_sample_is_the_users_to_correct() -> None:
    with pytest.raises(UserError, match=r"crd\+kd: .* 9 samples.* 4$"):
        step(Failing(), 9)
    step(Failing(), 10)
