"""The precision that a machine is fast in: measured once, stored, printed, and kept by a resumed run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from crdkit.engine import fast_precision, milliseconds, precision

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and nobody who decides."""
    monkeypatch.delenv(precision.SWITCH, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "crdkit"


@pytest.mark.parametrize(("fp32", "bf16", "chosen"), [(9.0, 3.0, "bf16"), (9.0, 9.0, "no"), (9.0, 8.0, "no")])
def test_the_faster_one_is_chosen_and_stored(
    fp32: float, bf16: float, chosen: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "milliseconds", lambda device: (fp32, bf16))
    choice = fast_precision(CPU)
    (file,) = cache.iterdir()
    assert choice.precision == chosen and str(file) in choice.reason
    assert f"{fp32:.2f} ms in fp32 and {bf16:.2f} ms in bf16" in choice.reason
    stored = json.loads(file.read_text())
    assert stored["precision"] == chosen and stored["reason"] in choice.reason
    monkeypatch.setattr(precision, "milliseconds", lambda device: pytest.fail("measured again"))
    before = file.stat()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert fast_precision(CPU) == choice
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("what", ["processor", "torch"])
def test_another_machine_or_torch_is_measured_for_itself(
    what: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "milliseconds", lambda device: (9.0, 3.0))
    assert fast_precision(CPU).precision == "bf16"
    monkeypatch.setattr(precision, "milliseconds", lambda device: (3.0, 9.0))
    if what == "processor":
        monkeypatch.setattr(precision, "processor", lambda: "another")
    else:
        monkeypatch.setattr(torch, "__version__", "99.0")
    assert fast_precision(CPU).precision == "no"
    assert len(list(cache.iterdir())) == 2


def test_of_two_first_runs_at_once_both_take_the_first_one_s_choice(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(device: torch.device) -> tuple[float, float]:
        monkeypatch.setattr(precision, "milliseconds", lambda device: (9.0, 3.0))
        assert fast_precision(CPU).precision == "bf16"  # another process, meanwhile
        return 3.0, 9.0

    monkeypatch.setattr(precision, "milliseconds", measure)
    assert fast_precision(CPU).precision == "bf16"
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", ["[]", "{", '{"a": 1}', '{"precision": "fp8", "reason": ""}'])
def test_a_damaged_choice_is_measured_again(
    damage: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "milliseconds", lambda device: (9.0, 3.0))
    precision.choice_file().write_text(damage)
    assert fast_precision(CPU).precision == "bf16"
    assert json.loads(precision.choice_file().read_text())["precision"] == "bf16"


def test_without_a_place_to_store_it_the_choice_is_fp32(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "milliseconds", lambda device: pytest.fail("measured"))
    cache.mkdir()
    cache.chmod(0o777)  # others could write there
    choice = fast_precision(CPU)
    assert choice.precision == "no" and str(cache) in choice.reason


@pytest.mark.parametrize("said", ["no", "bf16"])
def test_a_variable_decides(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(precision.SWITCH, said)
    monkeypatch.setattr(precision, "milliseconds", lambda device: pytest.fail("timed"))
    assert fast_precision(CPU).precision == said


def test_timing_leaves_the_generator_as_it_is() -> None:
    before = torch.get_rng_state()
    fp32, bf16 = milliseconds(CPU)
    assert fp32 > 0 and bf16 > 0
    assert torch.equal(torch.get_rng_state(), before)


TINY = [
    "crossmodal",
    "--cpu",
    "--data.size",
    "32",
    "32",
    "--data.train-samples",
    "16",
    "--data.test-samples",
    "4",
    "--data.unlabeled-samples",
    "0",
    "--method",
    "none",
    "--epochs",
    "1",
    "--output",
    "out",
]


def start(folder: Path, *more: str, **environment: str) -> tuple[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "crdkit", *TINY, *more],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "out/results.json").read_text())


def test_a_run_says_it_records_it_and_goes_on_with_it(tmp_path: Path) -> None:
    said, found = start(tmp_path, CRDKIT_PRECISION="bf16")
    assert "computing in bf16: CRDKIT_PRECISION says so; --precision no for the other" in said
    assert found["config"]["precision"] == "bf16"
    said, again = start(tmp_path, "--resume", CRDKIT_PRECISION="no")
    assert "computing in" not in said and again["config"]["precision"] == "bf16"
    assert again["runs"] == found["runs"]


def test_the_launcher_s_wish_stands(tmp_path: Path) -> None:
    wish = {"ACCELERATE_MIXED_PRECISION": "bf16", "CRDKIT_PRECISION": "no"}
    said, found = start(tmp_path, **wish)
    assert "computing in bf16, as accelerate's --mixed_precision says" in said
    assert found["config"]["precision"] == "bf16"
