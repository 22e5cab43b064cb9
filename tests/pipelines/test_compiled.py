"""Compiled teachers: a flag decides, the plan measures whether it pays, networks are freed with them."""

import gc
import shutil
import weakref
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from crdkit.common import ResumeError
from crdkit.experiments import compress
from crdkit.pipelines.preflight import compiled
from crdkit.pipelines.preflight.compiled import CompileEstimate, advise
from crdkit.transfer import Teacher, TeacherTargets, TransferConfig, targets

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler"
)


def advice(networks: list[nn.Module], *, precision: str = "bf16", steps: int = 1000, **transfer: Any) -> Any:
    accelerator: Any = SimpleNamespace(
        mixed_precision=precision, device=torch.device("cpu"), autocast=nullcontext
    )
    data: Any = SimpleNamespace(shape=lambda modality: (3, 8, 8))
    teachers = [Teacher(network) for network in networks]
    return advise(teachers, steps, config=TransferConfig(**transfer), data=data, accelerator=accelerator)


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


def test_a_compiled_teacher_is_compiled_once_and_freed_with_its_network(
    networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    compilations = []

    def compile_(network: nn.Module, **options: object) -> Any:
        compilations.append(options)
        return lambda images: network(images)

    monkeypatch.setattr(torch, "compile", compile_)
    teacher = Teacher(networks.pop(0))
    for _ in range(2):  # the methods of one run share it
        TeacherTargets([teacher], compiled=True)({"rgb": torch.rand(2, 3, 8, 8)})
    assert len(compilations) == 1
    alive = weakref.ref(teacher.network)
    del teacher
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(("seconds", "text"), [(9.0, "saves 1 s"), (11.0, "does not pay")])
def test_the_flag_is_advised_with_the_seconds_that_it_saves(
    seconds: float, text: str, networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_measure", lambda *_, **__: CompileEstimate(50.0, 40.0, seconds))
    (line,) = advice(networks[:1], mix="cutmix")  # a thousand steps save 10 s
    assert "50.0 ms a batch, compiled 40.0" in line and f"--transfer.compile-teachers {text}" in line


@needs_compiler
def test_a_teacher_keeps_its_weights_and_its_mode(
    networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was trained a moment ago, and is in training mode."""
    monkeypatch.setattr(compiled, "MIN_TEACHER_SECONDS", 0.0)
    network = networks[0].train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert any(name.endswith("running_mean") for name in before)
    assert len(advice([network])) == 2
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert network.training


def test_nothing_is_compiled_for_little_in_fp32_or_beside_a_cache(
    networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled.Compiled, "__call__", lambda *_: pytest.fail("compiled"))
    assert advice(networks, steps=1) == []
    assert advice(networks, steps=10**9, precision="no", mix="cutmix") == []
    assert advice(networks, steps=10**9, cached_augmentations=2) == []
    assert advice(networks, steps=10**9, compile_teachers=True) == []


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_cached_outputs_are_advised_where_live_teachers_take_long(
    precision: str, networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MIN_TEACHER_SECONDS", 0.0)
    monkeypatch.setattr(compiled, "Compiled", lambda network: network)
    lines = advice(networks[:1], precision=precision)
    assert "--transfer.cached-augmentations 4" in lines[0]
    assert len(lines) == 1 + (precision == "bf16")
    assert advice(networks[:1], precision="no", mix="mixup") == []  # outputs of mixed images cannot be cached


def test_a_compiler_that_fails_is_named(networks: list[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(compiled.Compiled, "__call__", fails)
    (line,) = advice(networks, steps=10**9)
    assert "RuntimeError: no compiler" in line and "at all" not in line


def test_a_run_compiles_with_the_flag_alone_and_resumes_with_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: list[bool] = []
    real = TeacherTargets.__init__

    def note(self: TeacherTargets, teachers: list[Teacher], *, compiled: bool = False) -> None:
        flags.append(compiled)
        real(self, teachers)  # as it is: the compiler would take half a minute

    monkeypatch.setattr(TeacherTargets, "__init__", note)
    monkeypatch.setattr(targets, "Compiled", lambda network: network)
    folder = str(tmp_path / "run")
    run = ["digits", "--cpu", "--seed", "0", "--teacher.architecture", "resnet8", "--epochs", "1"]
    run += ["--student", "resnet8", "--output", folder, "--method", "kd"]
    compress.main(run)
    assert not any(flags)
    flags.clear()
    with pytest.raises(SystemExit) as refused:
        compress.main([*run, "--resume", "--transfer.compile-teachers"])
    assert isinstance(refused.value.__context__ or refused.value, SystemExit | ResumeError)
    assert any(flags) and "compile_teachers" in str(refused.value)
