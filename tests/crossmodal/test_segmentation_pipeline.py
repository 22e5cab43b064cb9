"""The three stages of the cross-modal pipeline, on a few rendered rooms."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from crdkit.crossmodal import (
    DataConfig,
    SegmentationConfig,
    SegmentationPipeline,
    SegmentConfig,
    SegmentersConfig,
    load_samples,
)
from crdkit.crossmodal.segmentation import same_steps
from crdkit.data import DataError
from crdkit.engine import ResumeError, TrainConfig, digest, make_accelerator
from crdkit.models import DepthCNN
from crdkit.transfer import TransferConfig

BRIEF = TrainConfig(epochs=2, batch_size=8, lr=0.02, schedule="cosine")
TINY = SegmentationConfig(
    method=("none", "crd-dense+kd"),
    data=DataConfig(size=(32, 32), train_samples=16, test_samples=6),
    setting=(
        "crd.embed_dim=8",
        "crd-local.embed_dim=8",
        "crd-dense.embed_dim=8",
        "crd-dense.queue_size=16",
        "crd.negatives=batch",
        "at.pairing=resolution",
        "fitnet.hint=-1",
    ),
    teacher=SegmentersConfig(width=8, train=BRIEF),
    transfer=TransferConfig(train=BRIEF, cached_augmentations=2, cache_dtype="float16"),
    segment=SegmentConfig(train=BRIEF),
)
SAMPLES = load_samples(TINY.data)


def small() -> nn.Module:
    return DepthCNN(1, widths=(4, 8, 8), strides=(2, 2, 2))


def pipeline(folder: Path, config: SegmentationConfig = TINY) -> SegmentationPipeline:
    return SegmentationPipeline(config, SAMPLES, make_accelerator(cpu=True), folder, student=small)


def test_all_stages_run_and_a_second_time_are_taken_as_they_are(tmp_path: Path) -> None:
    first = list(pipeline(tmp_path).runs())
    assert [(run.method, run.seed) for run in first] == [("none", 0), ("crd-dense+kd", 0)]
    for run in first:
        scores = [row["mean_iou"] for row in run.history]
        assert (run.metrics["mean_iou"], run.metrics["best_mean_iou"]) == (scores[-1], max(scores))
        assert len(run.metrics["iou"]) == SAMPLES.num_classes
        assert [row["epoch"] for row in run.history] == [1, 2]
    assert not (tmp_path / "runs/none/seed-0/transfer").exists()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    again = list(pipeline(tmp_path).runs())
    assert [repr(run.metrics) for run in again] == [repr(run.metrics) for run in first]
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


def test_same_seed_same_bits_and_transfer_changes_the_student(tmp_path: Path) -> None:
    one, two = pipeline(tmp_path / "one"), pipeline(tmp_path / "two")
    students = [p.transfer("crd-dense+kd", 0).student for p in (one, two)]
    assert digest(students[0].state_dict()) == digest(students[1].state_dict())
    random = one.transfer("none", 0).student
    assert digest(random.state_dict()) != digest(students[0].state_dict())
    assert digest(one.transfer("none", 0).student.state_dict()) == digest(random.state_dict())
    assert digest(one.transfer("none", 1).student.state_dict()) != digest(random.state_dict())


def test_a_method_does_not_depend_on_those_before_it(tmp_path: Path) -> None:
    one, two = pipeline(tmp_path / "one"), pipeline(tmp_path / "two")
    one.transfer("kd", 0)
    students = [p.transfer("crd", 0).student for p in (one, two)]
    assert digest(students[0].state_dict()) == digest(students[1].state_dict())


def test_teacher_is_the_same_after_every_transfer(tmp_path: Path) -> None:
    config = replace(TINY, transfer=replace(TINY.transfer, cached_augmentations=0))
    live = pipeline(tmp_path, config)
    before = digest(live.teachers[0].network.state_dict())
    for method in ("kd", "at", "fitnet", "crd", "crd-local"):
        live.transfer(method, 0)
    assert digest(live.teachers[0].network.state_dict()) == before
    assert not live.teachers[0].network.training


def test_finished_stages_of_another_run_are_reused_where_settings_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = pipeline(tmp_path / "all")
    list(first.runs())
    fewer = replace(TINY, reuse=(tmp_path / "all",), segment=replace(TINY.segment, label_fraction=0.25))
    list(pipeline(tmp_path / "fewer", fewer).runs())
    for kept in ("teachers/rgb-seed-0/model.safetensors", "runs/crd-dense+kd/seed-0/student.safetensors"):
        old, new = (tmp_path / folder / kept for folder in ("all", "fewer"))
        assert old.read_bytes() == new.read_bytes()
    assert "segment of" in capsys.readouterr().out  # the last stage has other settings and was trained anew
    files = [tmp_path / f / "runs/none/seed-0/segment/model.safetensors" for f in ("all", "fewer")]
    assert files[0].read_bytes() != files[1].read_bytes()


def test_a_stage_with_other_settings_is_refused_in_the_same_folder(tmp_path: Path) -> None:
    list(pipeline(tmp_path, replace(TINY, method=("kd",))).runs())
    other = replace(TINY, method=("kd",), setting=("kd.temperature=2",))
    with pytest.raises(ResumeError, match=r"kd\.temperature"):
        list(pipeline(tmp_path, other).runs())


def test_label_fraction_is_a_fixed_draw_and_keeps_the_steps() -> None:
    chosen = SAMPLES.labeled(0.25, seed=1)
    assert len(chosen) == 4
    assert torch.equal(chosen.tensors["label"], SAMPLES.labeled(0.25, seed=1).tensors["label"])
    assert not torch.equal(chosen.tensors["label"], SAMPLES.labeled(0.25, seed=2).tensors["label"])
    assert SAMPLES.labeled(1.0, seed=1) is SAMPLES.train

    config = TrainConfig(epochs=12, batch_size=32, milestones=(6,), warmup_epochs=1, evaluate_every=3)
    tenth = same_steps(config, 80, 795)
    assert tenth.epochs * 3 == config.epochs * 25
    assert (tenth.milestones, tenth.evaluate_every) == ((50.0,), 25)
    assert same_steps(config, 795, 795) is config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: replace(TINY, method=()), "method"),
        (lambda: SegmentConfig(label_fraction=0.0), r"label_fraction.*0\.0"),
        (lambda: TransferConfig(cached_augmentations=-1), "cached_augmentations.*-1"),
        (lambda: SegmentersConfig(labels=False), "weights"),
    ],
)
def test_bad_settings_are_named(change: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change()


def test_missing_data_say_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data.root.*nyu_depth_v2_labeled\.mat"):
        load_samples(DataConfig(source="nyu"))
    with pytest.raises(DataError, match=r"splits\.mat"):
        load_samples(DataConfig(source="nyu", root=tmp_path / "nowhere"))
