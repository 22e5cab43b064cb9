"""The schedule against torch's own schedulers."""

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from crdkit.engine import TrainConfig, lr_factor

EPOCHS, STEPS = 6, 5
TOTAL = EPOCHS * STEPS


def torch_rates(scheduler: type[LRScheduler], **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = scheduler(optimizer, **options)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def rates(**options: object) -> list[float]:
    config = TrainConfig(epochs=EPOCHS, **options)
    return [2.0 * lr_factor(step, config=config, steps_per_epoch=STEPS) for step in range(TOTAL)]


def test_step_equals_torch() -> None:
    expected = torch_rates(MultiStepLR, milestones=[2 * STEPS, 4 * STEPS], gamma=0.1)
    assert rates(schedule="step", milestones=(2, 4)) == pytest.approx(expected)


def test_cosine_equals_torch() -> None:
    assert rates(schedule="cosine") == pytest.approx(torch_rates(CosineAnnealingLR, T_max=TOTAL))


def test_onecycle_equals_torch() -> None:
    expected = torch_rates(OneCycleLR, max_lr=2.0, total_steps=TOTAL, cycle_momentum=False)
    assert rates(schedule="onecycle") == pytest.approx(expected)


def test_warmup_rises_to_the_schedules_start() -> None:
    got = rates(schedule="cosine", warmup_epochs=2)
    assert got[: 2 * STEPS] == pytest.approx([2.0 * (i + 1) / (2 * STEPS) for i in range(2 * STEPS)])
    assert got[2 * STEPS] == 2.0
    assert all(
        later < earlier for earlier, later in zip(got[2 * STEPS :], got[2 * STEPS + 1 :], strict=False)
    )


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "onecycle"])
def test_a_single_step_has_the_full_rate(schedule: str) -> None:
    config = TrainConfig(epochs=1, schedule=schedule)
    assert lr_factor(0, config=config, steps_per_epoch=1) == 1


def test_steps_outside_the_training_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 30\), got 30"):
        lr_factor(TOTAL, config=TrainConfig(epochs=EPOCHS), steps_per_epoch=STEPS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("lr", float("nan")),
        ("weight_decay", -0.1),
        ("clip_norm", 0.0),
        ("optimizer", "lamb"),
        ("schedule", "linear"),
        ("milestones", (3, 2)),
        ("checkpoint_every", 0.0),
        ("warmup_epochs", 240),
    ],
)
def test_a_bad_setting_is_named_with_its_value(field: str, value: object) -> None:
    with pytest.raises(ValueError) as error:
        TrainConfig(**{field: value})
    assert field in str(error.value) and repr(value) in str(error.value)
