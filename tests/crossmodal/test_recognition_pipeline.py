"""L→ab from its teacher to its probes and its fine-tuning, on a few drawn shapes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crdkit.crossmodal import (
    PRESETS,
    ProbeConfig,
    RecognitionConfig,
    RecognitionPipeline,
)
from crdkit.data import ImageAugmentConfig, ImagesConfig, lab_modalities, load_splits
from crdkit.engine import TrainConfig, digest, make_accelerator
from crdkit.evaluation import extract, probe_features
from crdkit.pipelines import StudentRun
from crdkit.transfer import TeachersConfig, TransferConfig

ONE = TrainConfig(epochs=1, batch_size=64, lr=0.02, schedule="cosine")
TINY = RecognitionConfig(
    cpu=True,
    method=("none", "crd+kd"),
    data=ImagesConfig("shapes", classes=3, augment=ImageAugmentConfig.cifar()),
    setting=("crd.embed_dim=8", "crd.negatives=batch", "kd.temperature=1"),
    teacher=TeachersConfig(modality=("l",), architecture=("resnet8",), train=ONE),
    student="resnet8",
    transfer=TransferConfig(train=ONE),
    probe=ProbeConfig(dimension=16, neighbors=3),
    finetune=ONE,
)


def pipeline(folder: Path, config: RecognitionConfig = TINY) -> RecognitionPipeline:
    images = load_splits(config.data, torch.device("cpu"), unlabeled=True)
    images = replace(images, unlabeled=images.unlabeled.subset(torch.arange(200)))
    return RecognitionPipeline(config, images, make_accelerator(cpu=True), folder)


def test_every_layer_is_probed_and_the_student_is_tuned(tmp_path: Path) -> None:
    one = pipeline(tmp_path)
    runs = list(one.runs())
    assert [(run.method, run.seed) for run in runs] == [("none", 0), ("crd+kd", 0)]
    for run in runs:
        judged = {name: value for name, value in run.metrics.items() if "/" not in name}
        assert set(judged) == {
            *(f"probe_{i}" for i in range(1, 5)),
            "knn",
            "finetune_top1",
            "finetune_best_top1",
        }
        assert all(0 <= value <= 1 for value in judged.values())
        assert ("alignment/r1" in run.metrics) == ("alignment_before/r1" in run.metrics) == (run is runs[1])
        assert run.history[-1]["top1"] == run.metrics["finetune_top1"]
        assert one.embeddings[run.method, 0].vectors.shape == (len(one.test), 64)
    assert set(one.teacher_metrics()[0]) == {"top1", "best_top1"}
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = list(pipeline(tmp_path).runs())
    assert [run.metrics for run in again] == [run.metrics for run in runs]
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


def test_teacher_and_student_see_their_own_modality_of_the_same_crop(tmp_path: Path) -> None:
    one = pipeline(tmp_path)
    batch = one.data.dataset.__getitems__([0, 1, 2])
    with torch.random.fork_rng():
        torch.manual_seed(3)
        augmented = one.data.augment(batch)
        torch.manual_seed(3)
        moved = one.images.augment({**batch})["rgb"]
    light, color = lab_modalities(moved)
    assert torch.equal(augmented["l"], light) and torch.equal(augmented["ab"], color)
    assert not torch.equal(moved, batch["rgb"]) and "label" not in batch


def test_modalities_are_chosen_by_name(tmp_path: Path) -> None:
    def choose(folder: str, teacher: str, student: str) -> RecognitionPipeline:
        config = replace(TINY, teacher=replace(TINY.teacher, modality=(teacher,)), student_modality=student)
        return pipeline(tmp_path / folder, config)

    one = choose("ab", "ab", "l")
    assert one.builder.student().network.conv1.in_channels == 1
    assert one.teachers[0].network.network.conv1.in_channels == 2
    gray = choose("gray", "rgb", "gray")
    assert gray.builder.teacher_network(0).network.conv1.in_channels == 3
    assert len(gray.data.statistics.mean["gray"]) == 1


def test_probes_are_of_the_frozen_student_and_tuning_starts_from_it(tmp_path: Path) -> None:
    one = pipeline(tmp_path)
    student = one.transfer("crd", 0).student
    before = digest(student.state_dict())
    run = StudentRun("crd", 0)
    metrics = one.evaluate_frozen(run, student)
    assert digest(student.state_dict()) == before
    splits = (extract(student, split, modality="ab", layer=2, grid=1) for split in (one.train, one.test))
    assert metrics["probe_3"] == probe_features(*splits).top1
    network, history = one.execution.downstream(run)["finetune"]
    assert digest(student.state_dict()) != before and len(history) == 1
    assert network.encoder is student


def test_folds_are_used_where_the_data_have_them(tmp_path: Path) -> None:
    one = pipeline(tmp_path)
    one.images.train.folds = (torch.arange(0, 300, 2), torch.arange(1, 300, 2))
    student = one.transfer("none", 0).student
    run = StudentRun("none", 0)
    by_fold = one.evaluate_frozen(run, student)
    assert one.evaluate_frozen(run, student) == by_fold  # read from the run folder
    one.config = replace(TINY, probe=replace(TINY.probe, folds=False))
    whole = one.evaluate_frozen(run, student)
    assert by_fold["knn"] == whole["knn"]
    assert any(by_fold[f"probe_{i}"] != whole[f"probe_{i}"] for i in range(1, 5))


def test_a_teacher_of_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    from crdkit.models import save_weights

    one = pipeline(tmp_path / "one")
    trained = one.teachers[0].network
    save_weights(trained, tmp_path / "teacher.safetensors")
    named = replace(TINY.teacher, weights=(str(tmp_path / "teacher.safetensors"),))
    read = pipeline(tmp_path / "two", replace(TINY, teacher=named))
    assert digest(read.teachers[0].network.network.state_dict()) == digest(trained.network.state_dict())
    top1 = one.teacher_histories[0][-1]["top1"]
    assert read.teacher_metrics() == [{"top1": top1, "best_top1": top1}]


def test_presets_augment_both_modalities_alike_and_leave_color() -> None:
    for name in ("lab", "stl10", "stl10-small"):
        preset = PRESETS[name]
        assert isinstance(preset, RecognitionConfig)
        assert (preset.teacher.modality, preset.student_modality) == (("l",), "ab")
        assert preset.data.augment.jitter == preset.data.augment.grayscale == 0
    with pytest.raises(ValueError, match=r"probe\.dimension.*0"):
        ProbeConfig(dimension=0)


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_lightness_and_color_are_mixed_alike_and_the_average_is_aligned(tmp_path: Path, mix: Any) -> None:
    config = replace(TINY, method=("crd+kd",), transfer=TransferConfig(train=ONE, mix=mix, ema=0.9))
    history = pipeline(tmp_path, config).transfer("crd+kd", 0).history
    assert {"alignment/r1", "ema_alignment/r1"} <= set(history[-1])
    assert (tmp_path / "runs/crd+kd/seed-0/student-ema.safetensors").exists()
