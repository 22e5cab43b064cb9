"""Checkpoints: whole or absent, verified before they are read, without pickle."""

import json
import os
import pickle
import random
import re
import resource
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch
from dying_saves import die_at_every_operation, filled, tensors
from torch import nn

from crdkit.common import sha256
from crdkit.engine import CheckpointError, CheckpointStore, NonFiniteError, files
from crdkit.engine.checkpoint import flatten_optimizer, restore_optimizer
from crdkit.engine.rng import isolated_rng, restore_rng, rng_state

CPU = torch.device("cpu")


def is_whole(folder: Path, number: int) -> bool:
    loaded = CheckpointStore(folder).load(number, ("model", "memory"))
    return loaded.state == {"step": number} and all(
        torch.equal(loaded.tensors["model"][name], value) for name, value in tensors(number)["model"].items()
    )


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    store = filled(tmp_path, 4)
    assert store.numbers() == [3, 4]
    assert CheckpointStore(tmp_path).newest_whole() == 4
    assert is_whole(tmp_path, 4) and is_whole(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000003", "checkpoint-000004"]


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "absent").newest_whole() == 0


def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_checkpoint(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    process = processes.Process(target=die_at_every_operation, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    found = []
    for operation in range(len(list(tmp_path.iterdir()))):
        folder = tmp_path / str(operation)
        store = CheckpointStore(folder)
        store.clean()
        found.append(store.newest_whole())
        assert is_whole(folder, found[-1])
        assert not list(folder.glob(".tmp*"))
    assert len(found) > 15
    assert found == sorted(found) and set(found) == {2, 3}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


BREAK: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit flipped": (lambda folder: flip(folder / "model.safetensors"), "model.safetensors is damaged"),
    "truncated": (
        lambda folder: os.truncate(folder / "model.safetensors", 50),
        "model.safetensors has 50 bytes instead of",
    ),
    "file missing": (
        lambda folder: (folder / "memory.safetensors").unlink(),
        "memory.safetensors is miss",
    ),
    "state changed": (lambda folder: flip(folder / "state.json"), "state.json is damaged"),
    "manifest missing": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
    "manifest empty": (
        lambda folder: (folder / "manifest.json").write_text(""),
        "manifest.json cannot be read",
    ),
    "manifest cut": (
        lambda folder: (folder / "manifest.json").write_text('{"files": {}}'),
        "manifest.json cannot be read",
    ),
    "manifest of other files": (
        lambda folder: (folder / "manifest.json").write_text('{"files": {}, "fingerprint": {}}'),
        "manifest.json does not list state.json",
    ),
}


@pytest.mark.parametrize("fault", BREAK)
def test_a_broken_checkpoint_is_named_and_the_one_before_used(tmp_path: Path, fault: str) -> None:
    filled(tmp_path, 2)
    damage, text = BREAK[fault]
    damage(tmp_path / "checkpoint-000002")
    store = CheckpointStore(tmp_path)
    with pytest.warns(UserWarning, match=text):
        assert store.newest_whole() == 1
    assert is_whole(tmp_path, 1)
    # The whole one must survive the next save; the broken one goes.
    store.save(tensors(3), {"step": 3})
    assert store.numbers() == [1, 3]


def test_without_a_whole_one_all_faults_are_listed(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    flip(tmp_path / "checkpoint-000001" / "model.safetensors")
    (tmp_path / "checkpoint-000002" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"manifest\.json.*model\.safetensors"):
        CheckpointStore(tmp_path).newest_whole()


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


def test_a_planted_pickle_is_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    poison = pickle.dumps(Payload(mark))
    pickle.loads(poison)
    assert mark.exists(), "the payload works"
    mark.unlink()
    filled(tmp_path / "store", 1)
    folder = tmp_path / "store" / "checkpoint-000001"
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("model.safetensors", "random_states_0.pkl", "optimizer.bin"):
        (folder / name).write_bytes(poison)
        manifest["files"][name] = {"bytes": len(poison), "sha256": sha256(folder / name)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    store = CheckpointStore(tmp_path / "store")
    assert store.newest_whole() == 1, "an attacker can write a manifest too"
    with pytest.raises(CheckpointError, match="cannot read"):
        store.load(1, ("model", "memory"))
    assert not mark.exists()


def test_a_full_disk_is_an_error_that_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    large = {"model": {"weight": torch.zeros(100_000)}}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="checkpoint-000001"):
            store.save(large, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, former)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000001"]
    assert is_whole(tmp_path, 1)


def test_what_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    bad = {"model": {"fine": torch.zeros(2), "weight": torch.tensor([1.0, float("nan"), float("inf")])}}
    with pytest.raises(NonFiniteError, match=r"weight.*2.*3.*NaN"):
        store.save(bad, {})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000001"]


def test_tied_weights_are_saved_twice(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    files.write_tensors(tmp_path / "tied.safetensors", {"a": shared, "b": shared, "modality": shared[2:4]})
    loaded = files.read_tensors(tmp_path / "tied.safetensors")
    assert torch.equal(loaded["a"], shared) and torch.equal(loaded["b"], shared)
    assert torch.equal(loaded["modality"], shared[2:4])


def test_files_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    files.write_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)})
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_an_optimizer_continues_bit_for_bit(kind: type[torch.optim.Optimizer], tmp_path: Path) -> None:
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}

    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()

    whole = nn.Linear(3, 2)
    optimizer = kind(whole.parameters(), lr=0.1, **options)
    steps(whole, optimizer, 3)
    tensors, values = flatten_optimizer(optimizer)
    files.write_tensors(tmp_path / "optimizer.safetensors", tensors)
    resumed = nn.Linear(3, 2)
    resumed.load_state_dict(whole.state_dict())
    other = kind(resumed.parameters(), lr=0.1, **options)
    restore_optimizer(other, files.read_tensors(tmp_path / "optimizer.safetensors"), values)
    steps(whole, optimizer, 2)
    steps(resumed, other, 2)
    assert torch.equal(whole.weight, resumed.weight) and torch.equal(whole.bias, resumed.bias)


def test_random_states_come_back() -> None:
    def draws() -> list[float]:
        return [float(torch.rand(())), float(np.random.randn()), random.gauss(0, 1), random.random()]

    with isolated_rng(CPU):
        draws()  # leaves the second number of a normal pair waiting in numpy and python
        state = {name: value.clone() for name, value in rng_state(CPU).items()}
        first = draws()
        restore_rng(state, CPU)
        assert draws() == first


def test_the_engine_unpickles_nothing() -> None:
    for path in Path(files.__file__).parent.glob("*.py"):
        words = set(re.findall(r"[\w.]+", path.read_text()))
        assert not words & {"pickle", "torch.load", "torch.save", "load_state", "pickle.loads"}, path
