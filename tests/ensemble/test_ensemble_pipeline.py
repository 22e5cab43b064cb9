"""The ensemble pipeline from its pool to its metrics, on a few handwritten digits."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from crdkit.compression import CompressionConfig, CompressionPipeline
from crdkit.data import Batch, ImagesConfig, ImageSplits, load_splits
from crdkit.engine import CheckpointError, ResumeError, TrainConfig, digest, make_accelerator, seeded
from crdkit.ensemble import (
    PRESETS,
    EnsembleConfig,
    EnsembleMean,
    EnsemblePipeline,
    disputed,
    draw_subset,
    mean_logits,
    right_where_disputed,
)
from crdkit.evaluation import calibration_error
from crdkit.models import Outputs, create, save_weights
from crdkit.transfer import TeachersConfig, TransferConfig

ONE = TrainConfig(epochs=1, batch_size=64, schedule="cosine")
TINY = EnsembleConfig(
    cpu=True,
    data=ImagesConfig("digits", classes=4),
    teacher=TeachersConfig(number=3, architecture=("resnet8", "wrn_16_1"), train=ONE),
    student="resnet8",
    teachers=(1, 3),
    setting=("crd.num_negatives=32",),
    transfer=TransferConfig(train=ONE),
)


@pytest.fixture(scope="module")
def images() -> ImageSplits:
    return load_splits(TINY.data, torch.device("cpu"))


class Recorder(nn.Module):
    """Keeps the batches that pass."""

    def __init__(self, seen: list[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, batch: Batch) -> Batch:
        self.seen.append((batch["rgb"], batch["label"]))
        return batch


def pipeline(images: ImageSplits, folder: Path, config: EnsembleConfig = TINY) -> EnsemblePipeline:
    return EnsemblePipeline(config, images, make_accelerator(cpu=True), folder)


@pytest.fixture(scope="module")
def pool(images: ImageSplits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the members trained."""
    folder = tmp_path_factory.mktemp("pool")
    assert len(pipeline(images, folder).teachers) == 3
    return folder


def test_runs_cover_every_method_and_number(
    images: ImageSplits, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answer = EnsembleMean.forward

    def ask(mean: EnsembleMean, batch: Tensor) -> Outputs:
        asked.append(len(batch))
        return answer(mean, batch)

    monkeypatch.setattr(EnsembleMean, "forward", ask)
    config = replace(TINY, method=("none", "kd-mean", "crd+kd", "fitnet"), reuse=(pool,))
    runs = list(pipeline(images, tmp_path, config).runs())
    assert [(run.method, len(run.teachers)) for run in runs] == [
        ("none", 0),
        *((method, number) for number in (1, 3) for method in ("kd-mean", "crd+kd", "fitnet")),
    ]
    for run in runs:
        assert run.metrics["top1"] == run.history[-1]["top1"] <= run.metrics["best_top1"]
        assert ("agreement" in run.metrics) == bool(run.teachers)
    one = pipeline(images, pool)
    label, named = images.test.labels, one.evaluator.logits(runs[0].network).vectors.argmax(1)
    found = right_where_disputed(named == label, disputed(one.logits, label))
    assert found and found.items() <= runs[0].metrics.items()  # of the student alone, too
    assert all(found.keys() <= run.metrics.keys() for run in runs)
    assert sum(asked) == 2 * len(images.test)  # once for each number of teachers, not for each method
    assert runs[1].teachers == runs[4].teachers[:1]  # a larger ensemble of a draw holds the smaller
    assert (tmp_path / "runs/crd+kd/teachers-3/draw-0/seed-0/student.safetensors").is_file()


@pytest.mark.parametrize("method", ["crd", "kd", "crd+kd"])
def test_one_teacher_is_compression_bit_for_bit(
    method: str, images: ImageSplits, pool: Path, tmp_path: Path
) -> None:
    ensemble = pipeline(images, tmp_path / "a", replace(TINY, reuse=(pool,)))
    network = ensemble.teachers[1].network
    save_weights(network, tmp_path / "teacher.safetensors")
    done = ensemble.distil(method, (1,), 0, 7)
    config = CompressionConfig(
        cpu=True,
        data=TINY.data,
        setting=TINY.setting,
        student="resnet8",
        transfer=TINY.transfer,
        teacher=TeachersConfig(architecture=("wrn_16_1",), weights=(str(tmp_path / "teacher.safetensors"),)),
    )
    one = CompressionPipeline(config, images, make_accelerator(cpu=True), tmp_path / "b")
    assert digest(one.teachers[0].network.state_dict()) == digest(network.state_dict())
    expected = one.run(method, 7)
    assert digest(done.network.state_dict()) == digest(expected.network.state_dict())
    assert done.history == expected.history
    shared = ("top1", "best_top1", "cross_entropy", "agreement")
    assert {n: done.metrics[n] for n in shared} == pytest.approx({n: expected.metrics[n] for n in shared})


def test_pool_is_described_before_anything_is_distilled(images: ImageSplits, pool: Path) -> None:
    one = pipeline(images, pool)
    found = one.describe()
    assert [m["name"] for m in found["members"]] == ["resnet8-0", "wrn_16_1-1", "resnet8-2"]
    for member, metrics in zip(one.teachers, found["members"], strict=True):
        assert metrics["top1"] == pytest.approx(one.evaluator(member.network)["top1"])
    label = images.test.labels
    together = mean_logits(one.logits)
    assert found["ensemble"]["top1"] == pytest.approx(float((together.argmax(1) == label).double().mean()))
    errors = [calibration_error(logits.double().softmax(1), label) for logits in (*one.logits, together)]
    described = [metrics["calibration_error"] for metrics in (*found["members"], found["ensemble"])]
    assert described == pytest.approx(errors)
    assert torch.tensor(found["disagreement"]).shape == torch.tensor(found["divergence"]).shape == (3, 3)


def test_pool_is_described_where_it_teaches(images: ImageSplits, pool: Path) -> None:
    """The augmented training images of the transfer, of which the test split's number is looked at."""
    one = pipeline(images, pool)
    seen: list[tuple[Tensor, Tensor]] = []
    one.data = replace(one.data, augment=nn.Sequential(one.data.augment, Recorder(seen)))
    state = torch.get_rng_state()
    found = one.describe()["training"]
    assert torch.equal(torch.get_rng_state(), state)
    shown, label = torch.cat([batch for batch, _ in seen]), torch.cat([label for _, label in seen])
    assert len(shown) == min(len(images.test), len(images.train))
    plain = torch.stack([images.train[row]["rgb"] for row in range(len(shown))])
    assert shown.shape == plain.shape and not torch.equal(shown, plain)
    logits = torch.stack([member.network(shown).logits for member in one.teachers])
    assert found["members"][1]["top1"] == pytest.approx(float((logits[1].argmax(1) == label).double().mean()))
    apart = float((logits[0].argmax(1) != logits[2].argmax(1)).double().mean())
    assert found["disagreement"][0][2] == pytest.approx(apart)
    assert one.describe()["training"] == found


def test_a_cache_is_shared_by_runs(images: ImageSplits, pool: Path, tmp_path: Path) -> None:
    transfer = replace(TINY.transfer, cached_augmentations=2, cache=tmp_path / "cache")
    config = replace(TINY, method=("crd", "fitnet"), transfer=transfer, reuse=(pool,))
    first = pipeline(images, tmp_path / "a", config).distil("crd", (2, 0), 0, 1)
    folders = sorted((tmp_path / "cache").iterdir())
    assert len(folders) == 3  # the pixels, and what each of two teachers says
    again = pipeline(images, tmp_path / "b", config).distil("crd", (2, 0), 0, 1)
    assert digest(first.network.state_dict()) == digest(again.network.state_dict())
    assert sorted((tmp_path / "cache").iterdir()) == folders
    memory = replace(config, transfer=replace(transfer, cache=None))
    held = pipeline(images, tmp_path / "c", memory).distil("crd", (2, 0), 0, 1)
    assert digest(held.network.state_dict()) == digest(first.network.state_dict())
    live = replace(config, transfer=replace(transfer, cached_augmentations=0))
    other = pipeline(images, tmp_path / "d", live).distil("crd", (2, 0), 0, 1)
    assert digest(other.network.state_dict()) != digest(first.network.state_dict())
    hints = pipeline(images, tmp_path / "e", config).distil("fitnet", (2, 0), 0, 1)
    assert hints.history[0]["fitnet"] > 0


def test_members_differ_as_asked(images: ImageSplits, tmp_path: Path) -> None:
    def weights(differ_by: str) -> list[dict[str, Tensor]]:
        teacher = replace(TINY.teacher, number=2, architecture=("resnet8",), differ_by=differ_by)  # type: ignore[arg-type]
        config = replace(TINY, teacher=teacher, teachers=(1,))
        return [m.network.state_dict() for m in pipeline(images, tmp_path / differ_by, config).teachers]

    seeds, bags, snapshots = weights("seed"), weights("bootstrap"), weights("snapshots")
    assert digest(seeds[0]) != digest(seeds[1])
    assert digest(seeds[0]) != digest(bags[0])
    assert digest(seeds[0]) == digest(snapshots[0]) != digest(snapshots[1])
    name = "network.conv1.weight"
    near = (snapshots[1][name] - snapshots[0][name]).norm()
    assert near < (seeds[1][name] - seeds[0][name]).norm()


def test_members_of_several_runs_become_one_pool(images: ImageSplits, tmp_path: Path) -> None:
    teacher = replace(TINY.teacher, number=1, architecture=("resnet8",))
    folders = [tmp_path / "a", tmp_path / "b"]
    digests = []
    for seed, folder in enumerate(folders):
        config = replace(TINY, teacher=replace(teacher, seed=seed), teachers=(1,))
        digests += [digest(m.network.state_dict()) for m in pipeline(images, folder, config).teachers]
    config = replace(TINY, teacher=replace(teacher, number=2), teachers=(1, 2), reuse=tuple(folders))
    both = pipeline(images, tmp_path / "both", config)
    assert [digest(member.network.state_dict()) for member in both.teachers] == digests
    assert all((tmp_path / "both/teachers" / f"rgb-seed-{seed}").is_dir() for seed in (0, 1))


def test_draws_are_nested_and_differ() -> None:
    for draw in range(5):
        assert draw_subset(8, 4, draw)[:2] == draw_subset(8, 2, draw)
        assert sorted(draw_subset(8, 8, draw)) == list(range(8))
    assert len({draw_subset(8, 4, draw) for draw in range(5)}) > 1


class Own(nn.Module):
    """A user's own network, of any width."""

    def __init__(self, width: int, classes: int = 4) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, width, 3, stride=4), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Outputs:
        feature_map = self.body(x).relu()
        embedding = feature_map.mean((2, 3))
        return Outputs(self.head(embedding), (feature_map,), embedding)


def test_own_members_of_any_width_teach(images: ImageSplits, tmp_path: Path) -> None:
    with seeded(0):
        members = [Own(5), Own(9), create("resnet8", num_classes=4)]
    one = EnsemblePipeline(TINY, images, make_accelerator(cpu=True), tmp_path, teachers=members)
    done = one.distil("crd+kd", (0, 1, 2), 0, 0)
    assert done.history[0]["crd"] > 0 and one.describe()["members"][1]["name"] == "Own-1"


def test_member_with_other_classes_is_named(images: ImageSplits, tmp_path: Path) -> None:
    with seeded(0):
        members = [Own(5), Own(5, classes=7)]
    one = EnsemblePipeline(TINY, images, make_accelerator(cpu=True), tmp_path, teachers=members)
    with pytest.raises(ValueError, match=r"Own-1.*\(7,\).*4"):
        _ = one.teachers
    with seeded(0):
        save_weights(Own(5), tmp_path / "other.safetensors")
    read = TeachersConfig(weights=(str(tmp_path / "other.safetensors"),))
    config = replace(TINY, teacher=read, teachers=(1,))
    with pytest.raises(ValueError, match=r"0.*\(.*other\.safetensors\)"):
        _ = pipeline(images, tmp_path, config).teachers
    save_weights(create("resnet8", num_classes=7), tmp_path / "seven.safetensors")
    read = TeachersConfig(architecture=("resnet8",), weights=(str(tmp_path / "seven.safetensors"),))
    with pytest.raises(ValueError, match=r"0.*seven\.safetensors.*7.*4"):
        pipeline(images, tmp_path, replace(config, teacher=read)).check()
    wanted = replace(read, replace_classifier=True, train=ONE)
    trained = pipeline(images, tmp_path / "wanted", replace(config, teacher=wanted))
    (teacher,) = trained.teachers
    assert wanted.trains(0) and len(trained.teacher_histories[0]) == 1
    assert (tmp_path / "wanted" / "teachers" / "rgb-seed-0" / "history.json").is_file()
    sample = torch.rand(2, 3, 32, 32)
    assert teacher.network(sample).logits.shape == (2, 4)


def test_parts_of_different_runs_are_never_joined(images: ImageSplits, tmp_path: Path) -> None:
    """The same settings and the same names of files; only what is in them differs."""
    file, folders = tmp_path / "teacher.safetensors", [tmp_path / name for name in ("a", "b")]
    read = TeachersConfig(architecture=("resnet8",), weights=(str(file),))
    config = replace(TINY, teacher=read, teachers=(1,), method=("kd-mean",))
    for seed, folder in enumerate(folders):
        with seeded(seed):
            save_weights(create("resnet8", num_classes=4), file)
        assert len(list(pipeline(images, folder, config).runs())) == 1
    with pytest.raises(ResumeError, match=r"belongs to another training(.|\n)*teacher"):
        list(pipeline(images, folders[0], config).runs())  # the file is now that of the other
    stage = "runs/kd-mean/teachers-1/draw-0/seed-0/transfer/history.json"
    (folders[1] / stage).write_bytes((folders[0] / stage).read_bytes())
    with pytest.raises(CheckpointError, match=r"history\.json"):
        list(pipeline(images, folders[1], config).runs())


def test_settings_that_cannot_be_are_refused_at_once(images: ImageSplits, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 … 3.*got 4, 6: --teachers 1 2 takes"):
        replace(TINY, teachers=(1, 4, 2, 6))
    with pytest.raises(ValueError, match=r"got 0: --teachers 3 takes"):
        replace(TINY, teachers=(0,))
    with pytest.raises(ValueError, match="resnet8, wrn_16_1"):
        replace(TINY.teacher, differ_by="snapshots")
    with pytest.raises(ValueError, match=r"teacher\.number.*0"):
        TeachersConfig(number=0)
    with pytest.raises(ValueError, match="kd-mean"):
        pipeline(images, tmp_path, replace(TINY, method=("kd-meen",)))
    with pytest.raises(ValueError, match="temperature"):
        pipeline(images, tmp_path, replace(TINY, setting=("kd-mean.temperatur=2",)))


def test_memory_is_told_with_what_would_make_it_smaller(images: ImageSplits, tmp_path: Path) -> None:
    count = len(images.train)
    line = pipeline(images, tmp_path).memory()
    bank = count * 128 * 4 / 2**20
    assert line is not None and f"crd with 3 teachers keeps {6 * bank:.0f} MiB" in line
    assert f"memory banks, {count} × 128" in line and f"share-student would keep {4 * bank:.0f} MiB" in line
    shared = pipeline(
        images, tmp_path, replace(TINY, transfer=replace(TINY.transfer, share_student=True))
    ).memory()
    assert shared is not None and f"keeps {4 * bank:.0f} MiB" in shared and "would" not in shared
    assert pipeline(images, tmp_path, replace(TINY, method=("kd-mean",))).memory() is None
    batch = replace(TINY, setting=("crd.negatives=batch",))
    assert pipeline(images, tmp_path, batch).memory() is None


def test_presets_have_the_published_recipe() -> None:
    for name, member, student in (
        ("cifar100-wrn", "wrn_40_2", "wrn_16_2"),
        ("cifar100-resnet", "resnet110", "resnet20"),
    ):
        preset = PRESETS[name]
        assert (preset.teacher.architecture, preset.student) == ((member,), student)
        assert preset.teachers == (1, 2, 4, 6, 8) and preset.data.source == "cifar100"
        assert not preset.transfer.cached_augmentations and len(preset.teacher) == 8
        for train in (preset.transfer.train, preset.teacher.train):
            assert (train.epochs, train.batch_size, train.lr) == (240, 64, 0.05)
            assert train.milestones == (150, 180, 210)
