"""The precision that a machine is fast in: chosen once, said, and kept by a run that goes on."""

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
def test_the_faster_one_is_taken_and_stays(
    fp32: float, bf16: float, chosen: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "milliseconds", lambda device: (fp32, bf16))
    found = fast_precision(CPU)
    assert found.precision == chosen and f"{bf16:.2f} ms in bf16" in found.reason
    monkeypatch.setattr(precision, "milliseconds", lambda device: pytest.fail("timed again"))
    assert fast_precision(CPU) == found
    monkeypatch.setattr(precision, "milliseconds", lambda device: (1.0, 9.0))
    monkeypatch.setattr(precision, "processor", lambda: "another")
    assert fast_precision(CPU).precision == "no"
    assert len(json.loads((cache / precision.KEPT).read_text())) == 2


@pytest.mark.parametrize("damage", ["[]", "{", '{"a": 1}'])
def test_a_damaged_or_missing_cache_is_no_matter(
    damage: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "milliseconds", lambda device: (9.0, 3.0))
    cache.mkdir(mode=0o700)
    (cache / precision.KEPT).write_text(damage)
    assert fast_precision(CPU).precision == "bf16"
    cache.chmod(0o777)  # others could write there
    assert fast_precision(CPU).precision == "bf16"


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
