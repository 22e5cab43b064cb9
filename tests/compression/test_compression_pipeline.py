"""The compression pipeline from its first weights to its metrics, on a few handwritten digits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crdkit.compression import PAIRS, PRESETS, CompressionConfig, CompressionPipeline
from crdkit.data import ImageSplits, load_splits
from crdkit.deploy import load
from crdkit.distillers import METHODS, parse_settings
from crdkit.engine import TrainConfig, digest, make_accelerator
from crdkit.models import classifier_of, create

ONE = TrainConfig(epochs=1, batch_size=64, schedule="cosine")
TINY = replace(
    PRESETS["digits"],
    cpu=True,
    data=replace(PRESETS["digits"].data, classes=5),
    teacher=replace(PRESETS["digits"].teacher, architecture=("resnet14",), train=ONE),
    setting=("crd.num_negatives=64",),
    transfer=replace(PRESETS["digits"].transfer, train=ONE),
)


@pytest.fixture(scope="module")
def images() -> ImageSplits:
    return load_splits(TINY.data, torch.device("cpu"))


def pipeline(images: ImageSplits, folder: Path, config: CompressionConfig = TINY) -> CompressionPipeline:
    return CompressionPipeline(config, images, make_accelerator(cpu=True), folder)


def test_run_has_every_metric_and_leaves_the_student(images: ImageSplits, tmp_path: Path) -> None:
    config = replace(TINY, method=("none", "crd+kd"), reuse=())
    runs = list(pipeline(images, tmp_path, config).runs())
    assert [(run.method, run.seed) for run in runs] == [("none", 0), ("crd+kd", 0)]
    for run in runs:
        assert set(run.metrics) == {
            "top1",
            "best_top1",
            "top5",
            "cross_entropy",
            "agreement",
            "divergence",
            "correlation_difference",
        }
        assert run.metrics["top1"] == run.history[-1]["top1"] <= run.metrics["best_top1"]
        assert run.details["correlation"].shape == (5, 5)
        weights = tmp_path / "runs" / run.method / "seed-0" / "student.safetensors"
        assert digest(load(weights)[0].state_dict()) == digest(run.network.state_dict())
    assert "kd" in runs[1].history[0] and "kd" not in runs[0].history[0]


def test_same_seed_same_bits_and_all_methods_start_alike(images: ImageSplits, tmp_path: Path) -> None:
    whole = pipeline(images, tmp_path / "a")
    first = whole.run("crd", 0)
    again = pipeline(images, tmp_path / "b", replace(TINY, reuse=(tmp_path / "a",)))
    (tmp_path / "a" / "runs").rename(tmp_path / "elsewhere")  # the teacher alone is there to reuse
    assert digest(again.run("crd", 0).network.state_dict()) == digest(first.network.state_dict())
    none = replace(TINY, transfer=replace(TINY.transfer, train=replace(ONE, lr=1e-12)))
    still = [
        pipeline(images, tmp_path / m, replace(none, reuse=(tmp_path / "a",))).run(m, 0).network
        for m in ("none", "crd+kd")
    ]
    weights = [network.network.conv1.weight for network in still]
    torch.testing.assert_close(*weights, rtol=0, atol=1e-6)


def test_teacher_keeps_its_bits_and_a_finished_run_is_loaded(images: ImageSplits, tmp_path: Path) -> None:
    one = pipeline(images, tmp_path)
    before = digest(one.teachers[0].network.state_dict())
    first = one.run("kd", 1)
    assert digest(one.teachers[0].network.state_dict()) == before
    stamp = (tmp_path / "runs/kd/seed-1/transfer/history.json").stat().st_mtime_ns
    again = pipeline(images, tmp_path).run("kd", 1)
    assert (tmp_path / "runs/kd/seed-1/transfer/history.json").stat().st_mtime_ns == stamp
    assert again.metrics == first.metrics and again.history == first.history


@pytest.mark.parametrize("method", ["ab", "fsp", "ft"])
def test_pretraining_comes_before_the_transfer(method: str, images: ImageSplits, tmp_path: Path) -> None:
    config = replace(TINY, setting=(f"{method}.epochs=1",))
    one = pipeline(images, tmp_path, config)
    student = one.run(method, 0).network
    stage = tmp_path / f"runs/{method}/seed-0"
    assert (stage / f"pretrain-{method}" / "history.json").exists()
    assert all(parameter.requires_grad for parameter in student.parameters())
    without = pipeline(
        images, tmp_path / "no", replace(config, reuse=(tmp_path,), setting=(f"{method}.epochs=0",))
    )
    other = without.run(method, 0).network
    assert not (tmp_path / f"no/runs/{method}/seed-0/pretrain-{method}").exists()
    # If the pretraining trains the student (AB, FSP), cross-entropy alone follows it.
    assert digest(other.state_dict()) != digest(student.state_dict())


def test_simkd_is_tested_and_kept_with_the_teachers_classifier(images: ImageSplits, tmp_path: Path) -> None:
    one = pipeline(images, tmp_path)
    done = one.run("simkd", 0)
    networks = (one.teachers[0].network, done.network)
    theirs, ours = (classifier_of(network, one.data.shape("rgb")) for network in networks)
    assert theirs is not None and ours is not None and torch.equal(ours.weight, theirs.weight)
    assert done.network(images.test[0]["rgb"][None]).logits.shape == (1, 5)


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ("none", {"task": 1.0}),
        ("kd", {"task": 0.1, "kd": 0.9}),
        ("crd", {"task": 1.0, "crd": 0.8}),
        ("crd+kd", {"task": 1.0, "crd": 0.8, "kd": 1.0}),
        ("at+0.5*kd", {"task": 1.0, "at": 1000.0, "kd": 0.5}),
    ],
)
def test_weights_are_the_published_ones(
    method: str,
    weights: dict[str, float],
    images: ImageSplits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = {}

    def train(stage: str, task: object, *rest: object, **more: object) -> list[dict[str, float]]:
        seen[stage] = task.weights  # type: ignore[attr-defined]
        return [{"top1": 0.5}]

    for changes in ({}, {"task": 0.25}):
        config = replace(TINY, task_weight=changes.get("task"))
        one = pipeline(images, tmp_path / str(len(changes)), config)
        monkeypatch.setattr(one.stages, "train", train)
        one.run(method, 0)
        assert seen[f"runs/{method}/seed-0/transfer"] == pytest.approx(weights | changes)


def test_settings_are_read_and_refused() -> None:
    assert parse_settings(["kd.temperature=2", "kd.standardize=true", "crd.negatives=none"]) == {
        "kd": {"temperature": 2, "standardize": True},
        "crd": {"negatives": None},
    }
    for wrong in ("kd=2", "kd.temperature", "temperature=2", "kd.=2", ".t=2", "kd.t="):
        with pytest.raises(ValueError, match=r"METHOD\.NAME=VALUE"):
            parse_settings([wrong])


def test_pairs_are_the_thirteen_published_ones_with_the_published_recipe() -> None:
    assert len(PAIRS) == 13
    for name, (teacher, student) in PAIRS.items():
        config = PRESETS[name]
        assert (config.teacher.architecture, config.student) == ((teacher,), student)
        slow = student in ("MobileNetV2", "ShuffleV1", "ShuffleV2")
        assert config.lr == pytest.approx(0.01 if slow else 0.05)
        recipe = config.transfer.train
        assert (recipe.epochs, recipe.batch_size, recipe.momentum, recipe.weight_decay) == (
            240,
            64,
            0.9,
            5e-4,
        )
        assert (recipe.schedule, recipe.milestones, recipe.gamma) == ("step", (150, 180, 210), 0.1)
        assert not recipe.nesterov and recipe.warmup_epochs == 0
        for network in (teacher, student):
            create(network, num_classes=100)
    assert {"kd", "crd"} <= set(METHODS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"student_lr": 0.0}, "student_lr.*0.0"),
        ({"student_lr": float("nan")}, "student_lr"),
        ({"task_weight": -1.0}, r"task_weight.*-1\.0"),
        ({"method": ()}, "method"),
        ({"method": ("kd", "kd")}, "kd"),
        ({"seed": (1, 1)}, "1"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changed)
