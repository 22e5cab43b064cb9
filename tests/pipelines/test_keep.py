"""`--keep`: which weights stay of a run, and that what stays is enough to go on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from crdkit.compression import CompressionConfig, CompressionPipeline
from crdkit.data import ImagesConfig, ImageSplits, load_splits
from crdkit.engine import CheckpointError, TrainConfig, make_accelerator
from crdkit.pipelines import RunResult
from crdkit.transfer import TeachersConfig, TransferConfig

ONE = TrainConfig(epochs=1, batch_size=8, lr=0.01)
Keep = Literal["all", "best", "none"]
HEADS = "runs/fitnet/seed-0/transfer/model.safetensors"
STUDENT = "runs/fitnet/seed-0/student.safetensors"
TEACHER = "teachers/rgb-seed-0/model.safetensors"


@pytest.fixture(scope="module")
def digits() -> ImageSplits:
    images = load_splits(ImagesConfig("digits", classes=3), torch.device("cpu"))
    return replace(images, train=images.train.subset(range(16)), test=images.test.subset(range(8)))


def run(digits: ImageSplits, folder: Path, keep: Keep, method: str = "fitnet", **changes: Any) -> RunResult:
    config = CompressionConfig(
        method=(method,),
        student="resnet8",
        keep=keep,
        cpu=True,
        teacher=TeachersConfig(architecture=("resnet14",), train=ONE),
        transfer=TransferConfig(train=ONE, cached_augmentations=1, cache_on="disk"),
        data=ImagesConfig("digits", classes=3),
    )
    pipeline = CompressionPipeline(replace(config, **changes), digits, make_accelerator(cpu=True), folder)
    (done,) = pipeline.runs()
    pipeline.stages.tidy(keep)
    return done


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def weights(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")}


@pytest.mark.parametrize(
    ("keep", "left"), [("all", {TEACHER, STUDENT, HEADS}), ("best", {TEACHER, STUDENT}), ("none", {STUDENT})]
)
def test_what_is_kept_gives_the_same_student_on_resume(
    keep: Keep, left: set[str], digits: ImageSplits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(digits, tmp_path, keep)
    assert weights(tmp_path) == left and (tmp_path / "cache").exists() == (keep == "all")
    capsys.readouterr()
    again = run(digits, tmp_path, keep)
    assert same(first.network, again.network) and first.metrics == again.metrics
    told = capsys.readouterr().err
    assert ("not kept: it is trained again" in told) == (keep == "none")
    assert "runs/fitnet/seed-0/transfer" not in told


@pytest.mark.parametrize("keep", ["all", "best"])
def test_another_run_takes_the_student_over(
    keep: Keep, digits: ImageSplits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(digits, tmp_path / "one", keep)
    capsys.readouterr()
    other = run(digits, tmp_path / "two", "best", reuse=(tmp_path / "one",))
    assert same(first.network, other.network) and capsys.readouterr().err == ""
    assert (tmp_path / "two" / STUDENT).read_bytes() == (tmp_path / "one" / STUDENT).read_bytes()


def test_without_weights_another_run_trains_for_itself_and_leaves_the_first_alone(
    digits: ImageSplits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(digits, tmp_path / "one", "none")
    before = sorted((str(p), p.stat().st_mtime_ns) for p in (tmp_path / "one").rglob("*"))
    run(digits, tmp_path / "two", "best", reuse=(tmp_path / "one",))
    assert "teachers/rgb-seed-0 of" in (said := capsys.readouterr().out) and "were not kept" in said
    assert before == sorted((str(p), p.stat().st_mtime_ns) for p in (tmp_path / "one").rglob("*"))
    assert TEACHER in weights(tmp_path / "two")


def test_heads_that_are_deployed_stay(digits: ImageSplits, tmp_path: Path) -> None:
    first = run(digits, tmp_path, "best", "simkd")
    assert "runs/simkd/seed-0/transfer/model.safetensors" in weights(tmp_path)
    assert same(first.network, run(digits, tmp_path, "best", "simkd").network)


def test_a_student_that_was_exchanged_is_not_taken_for_the_trained_one(
    digits: ImageSplits, tmp_path: Path
) -> None:
    run(digits, tmp_path, "best")
    run(digits, tmp_path / "other", "best", seed=(1,))
    (tmp_path / STUDENT).write_bytes((tmp_path / "other/runs/fitnet/seed-1/student.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"is not the student that .*transfer trained"):
        run(digits, tmp_path, "best")


@pytest.mark.parametrize("lost", ["the student", "nothing"])
def test_killed_between_the_manifest_and_the_deletion(lost: str, digits: ImageSplits, tmp_path: Path) -> None:
    """Weights that the manifest no longer lists do no harm; a student that is gone is trained again."""
    first = run(digits, tmp_path, "best")
    (tmp_path / HEADS).write_bytes(b"half a file")
    if lost == "the student":
        (tmp_path / STUDENT).unlink()
    again = run(digits, tmp_path, "best")
    assert same(first.network, again.network) and (tmp_path / STUDENT).exists()
    assert json.loads((tmp_path / HEADS).with_name("manifest.json").read_text())["files"].keys() == {
        "history.json",
        "kept.json",
    }
