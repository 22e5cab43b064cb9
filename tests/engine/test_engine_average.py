"""The average of the weights: against its sum, judged beside the last ones, kept, resumed bit for bit."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import CONFIG, TinyTask, run, same
from torch import Tensor, nn

from crdkit.engine import Interrupted, NonFiniteError, ResumeError, WeightAverage

DECAY = 0.8


class Recording(TinyTask):
    """Keeps the weights as the steps left them, and may be stopped before some batches."""

    def __init__(self, stops: tuple[int, ...] = (), ema: float | None = DECAY) -> None:
        super().__init__(ema=ema)
        self.seen: list[dict[str, Tensor]] = []
        self.stops = stops

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        if len(self.seen) + 1 in self.stops:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().terms(module, batch)

    def update(self, batch: dict[str, Tensor], extra: Tensor) -> None:
        super().update(batch, extra)
        self.seen.append({name: value.clone() for name, value in self.module.state_dict().items()})


def naive(seen: list[dict[str, Tensor]], name: str) -> Tensor:
    """Weights of later steps count more, all of them 1 together."""
    if not seen[-1][name].is_floating_point():
        return seen[-1][name]
    total, weights = torch.zeros_like(seen[0][name], dtype=torch.float64), 0.0
    for age, state in enumerate(reversed(seen)):
        total += DECAY**age * state[name]
        weights += DECAY**age
    return (total / weights).float()


def test_the_average_is_the_weighted_mean_of_all_steps(tmp_path: Path) -> None:
    """Batch norm's running statistics as well; the number of its batches is that of the last step."""
    task = Recording()
    found = run(tmp_path, task=task)
    assert len(task.seen) == 18
    for name, value in found["average"].items():
        torch.testing.assert_close(value, naive(task.seen, name), rtol=1e-5, atol=1e-6)
    assert not torch.equal(found["average"]["0.weight"], found["weights"]["0.weight"])


def test_the_first_step_is_the_whole_average() -> None:
    """What the weights were drawn as has no part in it, as a start that counts would for 1/(1 − d) steps."""
    layer = nn.Linear(2, 2)
    average = WeightAverage(layer, 0.999)
    average.start()
    nn.init.constant_(layer.weight, 3.0)
    average.update(1)
    torch.testing.assert_close(average.tensors["weight"], torch.full((2, 2), 3.0))


def test_both_are_judged_and_the_last_weights_learn_as_without(tmp_path: Path) -> None:
    plain, averaged = run(tmp_path / "plain"), run(tmp_path / "averaged", task=Recording())
    assert same({**plain, "history": []}, {**averaged, "history": []})
    for bare, row in zip(plain["history"], averaged["history"], strict=True):
        own = {name: value for name, value in row.items() if not name.startswith("ema_")}
        assert own == bare and row["ema_draw"] == row["draw"] and row["ema_norm"] != row["norm"]


def test_applied_weights_are_taken_back_bit_for_bit() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = WeightAverage(network, DECAY)
    average.start()
    nn.init.normal_(network[0].weight)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(RuntimeError, match="judge"), average.applied():
        assert average.is_applied
        assert all(torch.equal(value, average.tensors[n]) for n, value in network.state_dict().items())
        raise RuntimeError("the judge failed")
    assert not average.is_applied
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("stops", [(1,), (3,), (7,), (17,), (2, 2, 1)], ids=str)
def test_interrupted_anywhere_it_ends_with_the_same_bits(tmp_path: Path, stops: tuple[int, ...]) -> None:
    undisturbed = run(tmp_path / "undisturbed", task=Recording())
    for stop in stops:
        with pytest.raises(Interrupted):
            run(tmp_path / "disturbed", task=Recording((stop,)))
    assert same(run(tmp_path / "disturbed", task=Recording()), undisturbed)


def test_it_is_among_the_results_and_loaded_with_them(tmp_path: Path) -> None:
    first = run(tmp_path, task=Recording())
    listed = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert "model-ema.safetensors" in listed and "model.safetensors" in listed
    torch.testing.assert_close(load_file(tmp_path / "model-ema.safetensors"), dict(first["average"]))
    again = Recording()
    assert same(run(tmp_path, task=again), {**first, "memory": again.memory.state_dict()})
    assert not again.seen


@pytest.mark.parametrize("other", [None, 0.9])
def test_another_average_is_another_training(tmp_path: Path, other: float | None) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path / "begun", task=Recording((5,)))
    run(tmp_path / "done", task=Recording())
    for folder in ("begun", "done"):
        with pytest.raises(ResumeError, match="ema"):
            run(tmp_path / folder, task=Recording(ema=other))


def test_an_average_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    class Broken(Recording):
        def update(self, batch: dict[str, Tensor], extra: Tensor) -> None:
            super().update(batch, extra)
            self.average.tensors["0.bias"].fill_(torch.nan)

    with pytest.raises(NonFiniteError, match="ema"):
        run(tmp_path, task=Broken(), config=CONFIG)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, float("nan")])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"ema.*\(0, 1\)"):
        WeightAverage(nn.Linear(1, 1), decay)
