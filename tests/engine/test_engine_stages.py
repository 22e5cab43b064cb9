"""What a run keeps between its trainings."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import CONFIG, Stopping, TinyData, TinyTask, kill

from crdkit.engine import CheckpointError, Interrupted, StageRunner, last_and_best, make_accelerator, seeded


def runner(folder: Path, *reuse: str, **fingerprint: Any) -> StageRunner:
    """Of a run folder and others beside it."""
    others = [folder.parent / name for name in reuse]
    return StageRunner(folder, make_accelerator(cpu=True), reuse=others, fingerprint=fingerprint)


def test_values_are_computed_once_for_the_same_fingerprint(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> dict[str, Any]:
        calls.append(len(calls))
        return {"top1": 0.5 + 0.1 * len(calls)}

    def stages(folder: str, *reuse: str, data: int = 1) -> StageRunner:
        return runner(tmp_path / folder, *reuse, data=data)

    first = stages("a").keep("runs/crd/probe", {"layer": (1, 2)}, compute)
    assert stages("a").keep("runs/crd/probe", {"layer": (1, 2)}, compute) == first and calls == [0]
    assert stages("b", "a").keep("runs/crd/probe", {"layer": (1, 2)}, compute) == first
    assert (tmp_path / "b/runs/crd/probe/values.json").is_file() and calls == [0]
    other = stages("a").keep("runs/crd/probe", {"layer": (1, 3)}, compute)
    assert other != first and calls == [0, 1]
    with pytest.raises(FileNotFoundError, match="none"):
        stages("b", "none")
    assert stages("a", data=2).keep("runs/crd/probe", {"layer": (1, 3)}, compute) != other


def test_a_training_is_taken_from_another_run_and_one_that_is_not_finished_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(folder: str, *reuse: str, task: TinyTask) -> list[dict[str, Any]]:
        return runner(tmp_path / folder, *reuse).train("teachers/a", task, TinyData(), CONFIG, 1)

    with pytest.raises(Interrupted):
        train("begun", task=Stopping({3: kill(signal.SIGTERM)}))
    history = train("whole", task=TinyTask())
    capsys.readouterr()
    never = Stopping({1: lambda: pytest.fail("a finished training was done again")})
    assert train("both", "begun", "whole", task=never) == history
    told = f"teachers/a of {tmp_path / 'begun'} is not reused: it is not finished\n"
    assert told in capsys.readouterr().out
    assert train("alone", "begun", task=TinyTask()) == history
    assert told in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert train("other", "empty", task=TinyTask()) == history
    assert "not finished" not in capsys.readouterr().out


def test_why_trainings_of_another_run_are_not_taken_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(folder: str, *reuse: str, epochs: int) -> None:
        stages = runner(tmp_path / folder, *reuse)
        for stage in ("runs/a", "runs/b"):
            stages.train(stage, TinyTask(), TinyData(), replace(CONFIG, epochs=epochs), 1)

    train("first", epochs=1)
    train("second", "first", epochs=2)
    said = capsys.readouterr().out
    assert said.count("config.epochs: 1 in the folder, 2 now") == 1 and "to continue it" not in said
    assert f"runs/a of {tmp_path / 'first'} is not reused: it belongs to another training:\n" in said
    assert f"runs/b of {tmp_path / 'first'} is not reused: likewise\n" in said
    assert (tmp_path / "second/runs/b/history.json").is_file()


def test_a_bit_flipped_in_kept_values_is_named(tmp_path: Path) -> None:
    stages = runner(tmp_path)
    stages.keep("runs/crd/probe", {}, lambda: {"top1": 0.71875, "of_absent_class": 0.5})
    file = tmp_path / "runs/crd/probe/values.json"
    file.write_text(file.read_text().replace("0.71", "0.91"))
    with pytest.raises(CheckpointError, match=r"values\.json is damaged.*delete the folder"):
        stages.keep("runs/crd/probe", {}, dict)


def test_last_and_best_are_of_the_epochs_that_were_judged() -> None:
    history = [{"epoch": 1}, {"epoch": 2, "top1": 0.6}, {"epoch": 3}, {"epoch": 4, "top1": 0.5}]
    assert last_and_best(history, "top1") == {"top1": 0.5, "best_top1": 0.6}
    with pytest.raises(IndexError):
        last_and_best(history, "top5")


def test_weights_are_seeded_on_the_cpu_and_the_current_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(4)
    assert torch.equal(first, torch.rand(4, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(torch.get_rng_state(), before)

    asked: list[tuple[str, Any]] = []
    for name, value in (
        ("is_available", True),
        ("is_initialized", True),
        ("current_device", 1),
        ("device_count", 8),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: asked.append(("read", device)))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: asked.append(("written", device)))
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: asked.append(("seeded", seed)))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("all GPUs are seeded"))
    with seeded(3):
        pass
    assert asked == [("read", 1), ("seeded", 3), ("written", 1)]
