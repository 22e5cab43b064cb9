"""Compiled teachers: the network's own outputs, chosen once for a run where they pay, and never in fp32."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from crdkit.experiments import compress
from crdkit.pipelines.preflight import compiled
from crdkit.transfer import Teacher, TeacherTargets

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler"
)


class Run:
    """What of a pipeline and its stages is asked."""

    def __init__(
        self, *, precision: str = "bf16", cached: int = 0, steps: int = 1000, mix: str = "cutmix"
    ) -> None:
        self.told: list[str] = []
        self.kept: dict[str, Any] = {}
        train = SimpleNamespace(batch_size=4)
        self.config = SimpleNamespace(
            transfer=SimpleNamespace(cached_augmentations=cached, train=train, mix=mix)
        )
        self.accelerator = SimpleNamespace(
            mixed_precision=precision,
            print=self.told.append,
            device=torch.device("cpu"),
            autocast=nullcontext,
        )
        ahead = {"runs/kd/seed-0/transfer": steps, "runs/kd/seed-0/segment": 9}
        self.stages = SimpleNamespace(progress=SimpleNamespace(remaining=ahead), keep=self.keep)
        self.data = SimpleNamespace(shape=lambda modality: (3, 8, 8))

    def keep(self, name: str, _: Mapping[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if name not in self.kept:
            self.kept[name] = compute()
        return self.kept[name]  # type: ignore[no-any-return]

    def chooses(self, networks: list[nn.Module]) -> bool:
        given: Any = self
        return compiled.choose_compiled(given, [Teacher(network) for network in networks])


@needs_compiler
def test_the_outputs_are_the_networks_own(networks: list[nn.Module]) -> None:
    teachers = [Teacher(network) for network in networks[:2]]
    plain, fast = TeacherTargets(teachers), TeacherTargets(teachers, compiled=True)
    for size in (6, 6, 5):  # the last, smaller batch goes through the networks
        batch = {"rgb": torch.rand(size, 3, 8, 8)}
        with torch.autocast("cpu", torch.bfloat16):
            for one, other in zip(plain(batch), fast(batch), strict=True):
                torch.testing.assert_close(other.logits, one.logits, rtol=0.03, atol=0.03)
                torch.testing.assert_close(other.embedding, one.embedding, rtol=0.03, atol=0.03)
                assert len(other.maps) == len(one.maps) and not other.embedding.requires_grad


@pytest.mark.parametrize("paying", [True, False])
def test_it_is_chosen_where_it_saves_seconds(
    paying: bool, networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"plain_ms": 50.0, "compiled_ms": 40.0, "seconds": 9.0 if paying else 11.0}
    monkeypatch.setattr(compiled, "_time", lambda *_, **__: times)
    run = Run()  # a thousand steps save 10 s for each teacher
    assert run.chooses(networks[:1]) is paying
    (line,) = run.told
    assert "50.0 ms a batch, compiled 40.0" in line and ("saves 1 s" if paying else "does not pay") in line
    monkeypatch.setattr(compiled, "_time", lambda *_, **__: pytest.fail("timed again"))
    assert run.chooses(networks[:1]) is paying and len(run.told) == 1


@needs_compiler
@pytest.mark.parametrize("worth", [0.0, 1e9], ids=["tried", "too little"])
def test_a_teacher_keeps_its_bits_and_its_mode(
    worth: float, networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was trained a moment ago, and is in training mode."""
    monkeypatch.setattr(compiled, "WORTH", worth)
    network = networks[0].train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert any(name.endswith("running_mean") for name in before)
    Run().chooses([network])
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert network.training


def test_never_in_fp32_nor_beside_a_cache_nor_for_little(
    networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled.Compiled, "__call__", lambda *_: pytest.fail("compiled"))
    for run in (Run(), Run(precision="no", steps=10**9), Run(cached=2, steps=10**9)):
        assert not run.chooses(networks) and not run.told


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_kept_answers_are_offered_where_live_teachers_take_long(
    precision: str, networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "WORTH", 0.0)
    monkeypatch.setattr(compiled, "Compiled", lambda network: network)
    run = Run(precision=precision, mix="none")
    run.chooses(networks[:1])
    assert run.told[0].startswith("live teachers take about ")
    assert "--transfer.cached-augmentations 4 would" in run.told[0]
    assert len(run.told) == 1 + (precision == "bf16")
    mixed = Run(precision="no")  # their answers cannot be kept
    mixed.chooses(networks[:1])
    assert not mixed.told


def test_a_compiler_that_fails_costs_a_line(
    networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(compiled.Compiled, "__call__", fails)
    run = Run(steps=10**9)
    assert not run.chooses(networks)
    assert run.told == ["the teachers are not compiled (RuntimeError: no compiler): they run as they are"]


@pytest.fixture
def any_precision() -> Iterator[None]:
    """Accelerate keeps the first precision of a process: this test has its own, and leaves none."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("any_precision")
def test_a_run_that_goes_on_stays_with_its_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    real = TeacherTargets.__init__

    def noting(self: TeacherTargets, teachers: list[Teacher], *, compiled: bool = False) -> None:
        asked.append(compiled)
        real(self, teachers)

    monkeypatch.setattr(TeacherTargets, "__init__", noting)
    times = {"plain_ms": 50.0, "compiled_ms": 20.0, "seconds": 0.1}
    monkeypatch.setattr(compiled, "_time", lambda *_, **__: times)
    run = [
        "digits",
        "--cpu",
        "--precision",
        "bf16",
        "--seed",
        "0",
        "--teacher.architecture",
        "resnet8",
        "--teacher.train.epochs",
        "2",
        "--transfer.train.epochs",
        "2",
        "--transfer.cached-augmentations",
        "0",
        "--output",
        str(tmp_path / "run"),
    ]
    compress.main([*run, "--method", "kd"])
    assert asked[-1]
    monkeypatch.setattr(compiled, "_time", lambda *_, **__: {**times, "compiled_ms": 70.0})
    compress.main([*run, "--method", "kd", "fitnet", "--resume"])
    assert asked[-1]
