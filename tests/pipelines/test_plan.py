"""What a run has before it, with the teachers' outputs kept."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crdkit.compression import PRESETS, CompressionPipeline
from crdkit.data import load_splits
from crdkit.engine import make_accelerator
from crdkit.pipelines import Plan
from crdkit.pipelines.preflight import plan as module

DIGITS = replace(PRESETS["digits"], cpu=True, setting=("crd.num_negatives=64",))


def planned(folder: Path, *methods: str) -> Plan:
    kept = replace(DIGITS.transfer, cached_augmentations=4)
    config = replace(DIGITS, method=methods, transfer=kept)
    splits = load_splits(config.data, torch.device("cpu"))
    return CompressionPipeline(config, splits, make_accelerator(cpu=True), folder).preflight.plan()


def test_a_kept_teacher_runs_once_for_all_vectors_and_again_for_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(action: object, device: torch.device) -> float:
        action()  # type: ignore[operator]
        return 1.0

    monkeypatch.setattr(module, "fastest", timed)
    vectors = planned(tmp_path, "kd", "crd", "crd+kd")
    samples = len(load_splits(DIGITS.data, torch.device("cpu")).train)
    once = 4 * samples / DIGITS.transfer.train.batch_size  # seconds of a batch, four times over the data
    assert vectors.cache_seconds == pytest.approx(once)
    assert planned(tmp_path, "kd", "crd", "fitnet").cache_seconds == pytest.approx(2 * once)
    # A step is timed with what the teachers said given, whatever it takes beside them.
    steps = {each.label: each.steps for each in vectors.trainings}
    assert {each.label: each.seconds for each in vectors.trainings} == pytest.approx(steps)
    # Pixels in bytes, ten logits and the 64 values of the teacher's embedding in fp32.
    size = samples * 4 * (3 * 32 * 32 + (10 + 64) * 4)
    assert vectors.cache_bytes == pytest.approx(size, rel=1e-3)
