"""Interrupted anywhere, by anything: the end is that of an undisturbed training, bit for bit."""

import json
import random
import re
import signal
import time
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_training import CONFIG, Stopping, alive, evaluate, kill, launch, run, run_and_save, same
from torch import nn

from crdkit.common import Artifact, write_json
from crdkit.engine import Interrupted

STEPS = 18


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = run(tmp_path_factory.mktemp("undisturbed"))
    result["metrics"] = metrics(tmp_path_factory.getbasetemp() / "undisturbed0")
    return result


def metrics(folder: Path) -> list[str]:
    """The lines of metrics.jsonl without the time that they took."""
    return [
        re.split(', "(?:samples_per_second|seconds)"', line)[0]
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


@pytest.mark.parametrize("batches", [[1], [3], [6], [7], [17], [18], [2, 2], [5, 1, 1, 9]], ids=str)
def test_a_signal_at_any_batch(tmp_path: Path, undisturbed: dict[str, Any], batches: list[int]) -> None:
    """Within an epoch, at its ends, at the last step, several times in an epoch."""
    for batch in batches:
        task = Stopping({batch: kill(signal.SIGTERM)})
        with pytest.raises(Interrupted) as stopped:
            run(tmp_path, task=task)
        assert stopped.value.code == 143
        assert task.count == batch, "the step is finished, and none begun after it"
    result = run(tmp_path)
    assert same(result, undisturbed)
    assert metrics(tmp_path) == undisturbed["metrics"]


@pytest.mark.parametrize("interrupted", [1, 3])
def test_a_signal_during_an_evaluation(tmp_path: Path, undisturbed: dict[str, Any], interrupted: int) -> None:
    count = 0

    def signalled(module: nn.Module) -> dict[str, float]:
        nonlocal count
        count += 1
        if count == interrupted:
            kill(signal.SIGUSR1)()
        return evaluate(module)

    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, evaluate=signalled)
    assert stopped.value.code == 138
    result = run(tmp_path)
    if interrupted == 3:  # the training is finished, and the memory ended with it
        result["memory"] = undisturbed["memory"]
    assert same(result, undisturbed)


def test_accumulation_resumes_between_steps(tmp_path: Path) -> None:
    config = replace(CONFIG, accumulate=4)
    whole = run(tmp_path / "whole", config=config)
    assert whole["history"][-1]["step"] == 6
    for _ in range(2):
        with pytest.raises(Interrupted):
            run(tmp_path / "cut", config=config, task=Stopping({2: kill(signal.SIGTERM)}))
    assert same(run(tmp_path / "cut", config=config), whole)


def test_workers_read_ahead_but_resume_does_not_notice(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    config = replace(CONFIG, num_workers=1)
    with pytest.raises(Interrupted):
        run(tmp_path, config=config, task=Stopping({8: kill(signal.SIGTERM)}))
    assert same(run(tmp_path, config=config), undisturbed)


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    def press_twice() -> None:
        kill(signal.SIGINT)()
        kill(signal.SIGINT)()

    task = Stopping({4: press_twice})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, task=task)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_launcher_s_copy_is_no_second_interrupt(
    tmp_path: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")

    def press_twice() -> None:
        kill(signal.SIGINT)()
        kill(signal.SIGINT)()
        time.sleep(1.1)
        kill(signal.SIGINT)()

    task = Stopping({4: press_twice})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, task=task)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "handlers are given back"
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, task=Stopping({1: kill(signal.SIGINT)}))
    assert stopped.value.code == 130
    assert same(run(tmp_path), undisturbed)


def test_a_broken_checkpoint_costs_time_but_no_bit(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, task=Stopping({9: kill(signal.SIGTERM)}))
    newest = max((tmp_path / "checkpoints").iterdir())
    (newest / "ranks.safetensors").unlink()  # the random states
    with pytest.warns(UserWarning, match=r"ranks\.safetensors.*checkpoint-\d+"):
        result = run(tmp_path)
    assert same(result, undisturbed)


@pytest.mark.parametrize(
    "file", ["state.json", "model.safetensors", "ranks.safetensors", "optimizer.safetensors"]
)
def test_wrong_contents_with_right_digests_are_named_and_the_one_before_used(
    tmp_path: Path, undisturbed: dict[str, Any], file: str
) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, task=Stopping({9: kill(signal.SIGTERM)}))
    first, newest = sorted((tmp_path / "checkpoints").iterdir())
    if file.endswith("json"):
        state = json.loads((newest / file).read_text())
        write_json(newest / file, {**state, "history": None, "terms": 5})
    else:
        save_file({"x": torch.zeros(1)}, newest / file)
    Artifact.seal(newest, {})
    with pytest.warns(UserWarning, match=rf"{newest.name} cannot be continued.*using {first.name}"):
        result = run(tmp_path)
    assert same(result, undisturbed)


def test_killed_at_random_until_it_is_done(
    tmp_path: Path, undisturbed: dict[str, Any], processes: ForkServerContext
) -> None:
    generator = random.Random(0)
    kills = 0
    while not (tmp_path / "result.pt").exists():
        process = processes.Process(target=run_and_save, args=(tmp_path, 0.02))
        process.start()
        process.join(generator.uniform(0.1, 1.5) if kills < 5 else None)
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
    assert kills > 1
    assert same(torch.load(tmp_path / "result.pt"), undisturbed)
    assert metrics(tmp_path) == undisturbed["metrics"]
    assert not list(tmp_path.rglob(".tmp*"))


def test_the_process_exits_with_the_stated_code(tmp_path: Path, processes: ForkServerContext) -> None:
    process = processes.Process(target=run_and_save, args=(tmp_path, 0.05))
    process.start()
    while not (tmp_path / "metrics.jsonl").exists() and process.is_alive():
        time.sleep(0.01)
    process.terminate()
    process.join()
    assert process.exitcode == 143
    assert list((tmp_path / "checkpoints").glob("checkpoint-*/manifest.json"))


def test_a_dead_launcher_leaves_no_orphan(tmp_path: Path, processes: ForkServerContext) -> None:
    launcher = processes.Process(target=launch, args=(tmp_path,))
    launcher.start()
    while not (tmp_path / "metrics.jsonl").exists() and launcher.is_alive():
        time.sleep(0.01)
    launcher.kill()
    deadline = time.monotonic() + 600
    rank = int((tmp_path / "rank.pid").read_text())
    while alive(rank) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(rank)
    assert not (tmp_path / "result.pt").exists()
    assert list((tmp_path / "checkpoints").glob("checkpoint-*/manifest.json"))
