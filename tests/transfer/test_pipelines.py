"""One step for every pipeline: every method by its name, several teachers, what is told before training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from crdkit.compression import CompressionConfig, CompressionPipeline
from crdkit.crossmodal import (
    DataConfig,
    Samples,
    SegmentationConfig,
    SegmentationPipeline,
    SegmentConfig,
    SegmentersConfig,
)
from crdkit.data import ImagesConfig, ImageSplits, PairedTensors, load_splits
from crdkit.distillers import JOINT, METHODS
from crdkit.engine import TrainConfig, digest, make_accelerator, seeded
from crdkit.models import DepthCNN, bare_state, create
from crdkit.pipelines import Pipeline, StudentRun, stage_folder
from crdkit.transfer import STUDENT, Teacher, TeachersConfig, TransferConfig

ONE = TrainConfig(epochs=1, batch_size=8, lr=0.01)
BRIEF = ("crd.num_negatives=8", "ab.epochs=1", "ft.epochs=1", "fsp.epochs=1")
SEGMENTED = (
    "at.pairing=resolution",
    "fitnet.hint=-1",
    "crd.negatives=batch",
    "ca-mkd.hint_weight=0",
    "aekd-hint.hint=-1",
)
NEEDS_LABELS = {"dkd", "kd-weighted", "ca-mkd"}
"""What a transfer without labels refuses."""


@pytest.fixture(scope="module")
def digits() -> ImageSplits:
    images = load_splits(ImagesConfig("digits", classes=3), torch.device("cpu"))
    return replace(images, train=images.train.subset(range(16)), test=images.test.subset(range(8)))


def compression(digits: ImageSplits, folder: Path, **changes: Any) -> CompressionPipeline:
    config = CompressionConfig(
        setting=BRIEF,
        student="resnet8",
        teacher=TeachersConfig(architecture=("resnet14",), train=ONE),
        transfer=TransferConfig(train=ONE),
        data=ImagesConfig("digits", classes=3),
        cpu=True,
    )
    return CompressionPipeline(replace(config, **changes), digits, make_accelerator(cpu=True), folder)


def samples(count: int = 16) -> Samples:
    generator = torch.Generator().manual_seed(0)
    pairs = PairedTensors(
        rgb=torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator),
        depth=torch.rand(count, 1, 32, 32, generator=generator) + 1,
        thermal=torch.rand(count, 1, 32, 32, generator=generator),
        label=torch.randint(0, 4, (count, 32, 32), dtype=torch.uint8, generator=generator),
    )
    return Samples(pairs, pairs.subset(range(4)), 4, tuple("abcd"))


def crossmodal(folder: Path, given: Samples | None = None, **changes: Any) -> SegmentationPipeline:
    own = {name: changes.pop(name) for name in ("student", "teachers") if callable(changes.get(name))}
    config = SegmentationConfig(
        setting=(*BRIEF, *SEGMENTED),
        data=DataConfig(size=(32, 32)),
        teacher=SegmentersConfig(architecture=("depth_cnn",), width=8, train=ONE),
        transfer=TransferConfig(train=ONE),
        segment=SegmentConfig(train=ONE),
        cpu=True,
    )
    return SegmentationPipeline(
        replace(config, **changes),
        given or samples(),
        make_accelerator(cpu=True),
        folder,
        **{"student": small, **own},
    )


def is_trained(one: Pipeline, method: str) -> bool:
    """Whether the student of seed 0 differs from its initialization in a convolution."""
    with seeded(0):
        initial = bare_state(one.builder.student())
    saved = load_file(one.stages.folder / stage_folder(StudentRun(method, 0)) / STUDENT)
    names = [name for name in initial if name.endswith("weight") and initial[name].ndim == 4]
    return any(not torch.equal(saved[name], initial[name]) for name in names)


def small() -> nn.Module:
    return DepthCNN(1, widths=(4, 8, 8), strides=(2, 2, 2))


@pytest.mark.parametrize("method", [*METHODS, *JOINT])
def test_every_method_runs_in_compression(method: str, digits: ImageSplits, tmp_path: Path) -> None:
    one = compression(digits, tmp_path, method=(method,))
    done = one.run(method, 0)
    assert is_trained(one, method)
    assert done.network(digits.test[0]["rgb"][None]).logits.shape == (1, 3)


@pytest.mark.parametrize("standardize", ["true", "phi-s"])
@pytest.mark.parametrize("method", ["crd", "crd-local+cosine", "crd-dense", "fitnet", "vid", "reviewkd"])
def test_standardized_targets_and_the_relational_contrast(
    method: str, standardize: str, digits: ImageSplits, tmp_path: Path
) -> None:
    names = method.split("+")
    soft = tuple(f"{name}.objective=relational" for name in names if name.startswith("crd"))
    setting = (*BRIEF, *soft, *(f"{name}.standardize={standardize}" for name in names))
    digests = []
    for name, settings in (("with", setting), ("without", BRIEF)):
        one = compression(digits, tmp_path / name, method=(method,), setting=settings)
        digests.append(digest(one.transfer(method, 0).student.state_dict()))
    assert digests[0] != digests[1]


@pytest.mark.parametrize("method", [*METHODS, *JOINT])
def test_every_method_runs_from_rgb_to_depth_or_is_refused_by_name(method: str, tmp_path: Path) -> None:
    teachers = [Teacher(create("resnet8", num_classes=5))]
    config = {"method": (method,)}
    one = SegmentationPipeline(
        replace(crossmodal(tmp_path).config, **config),
        samples(),
        make_accelerator(cpu=True),
        tmp_path,
        teachers=teachers,
        student=lambda: create("resnet14", num_classes=None, in_channels=1),
    )
    if method in NEEDS_LABELS:
        with pytest.raises(ValueError, match=method):
            one.check()
        return
    one.check()
    before = digest(teachers[0].network.state_dict())
    student = one.transfer(method, 0).student
    assert digest(student.state_dict()) != digest(one.transfer("none", 0).student.state_dict())
    assert digest(teachers[0].network.state_dict()) == before


@pytest.mark.parametrize(
    "method",
    ["sp", "rkd", "pkt", "vid", "kd-mean", "crd-dense+kd", "at", "crd-local", "angle", "aekd+aekd-hint"],
)
def test_two_teachers_of_two_modalities_teach_a_third(method: str, tmp_path: Path) -> None:
    teacher = SegmentersConfig(
        modality=("rgb", "depth"), architecture=("vgg8", "depth_cnn"), width=8, train=ONE
    )
    one = crossmodal(tmp_path, teacher=teacher, student_modality="thermal", method=(method,))
    list(one.runs())
    assert is_trained(one, method)
    assert [t.modality for t in one.teachers] == ["rgb", "depth"]
    first = [next(m for m in t.network.modules() if isinstance(m, nn.Conv2d)) for t in one.teachers]
    assert [layer.in_channels for layer in first] == [3, 1]
    assert {path.name for path in (tmp_path / "teachers").iterdir()} == {"rgb-seed-0", "depth-seed-1"}
    assert len(one.teacher_metrics()) == 2


@pytest.mark.filterwarnings("error:There is a performance drop")
@pytest.mark.parametrize("cached", [0, 2])
@pytest.mark.parametrize("method", ["kd-mean", "dkd", "vid+angle", "crd-local"])
def test_teachers_of_two_modalities_are_dropped(method: str, cached: int, tmp_path: Path) -> None:
    teacher = SegmentersConfig(
        modality=("rgb", "depth"), architecture=("vgg8", "depth_cnn"), width=8, train=ONE
    )
    transfer = TransferConfig(train=ONE, cached_augmentations=cached, drop_teachers=0.5)
    one = crossmodal(
        tmp_path,
        teacher=teacher,
        transfer=transfer,
        student_modality="thermal",
        method=(method,),
        labeled_transfer=True,
    )
    list(one.runs())
    assert is_trained(one, method)
    refused = replace(one.config, method=("kd-logits",))
    with pytest.raises(ValueError, match="drop_teachers"):
        SegmentationPipeline(
            refused, samples(), make_accelerator(cpu=True), tmp_path / "no", student=small
        ).check()


@pytest.mark.parametrize("cached", [0, 2])
@pytest.mark.parametrize("method", sorted(NEEDS_LABELS))
def test_label_maps_teach_where_the_transfer_may_see_them(method: str, cached: int, tmp_path: Path) -> None:
    transfer = TransferConfig(train=ONE, cached_augmentations=cached)
    teacher = SegmentersConfig(architecture=("vgg8",), number=1 + (method in JOINT), width=8, train=ONE)
    how: Any = {"method": (method,), "teacher": teacher, "transfer": transfer, "labeled_transfer": True}
    one = crossmodal(tmp_path, **how)
    list(one.runs())
    assert is_trained(one, method)
    blind = crossmodal(tmp_path, **{**how, "labeled_transfer": False})
    with pytest.raises(ValueError, match=method):
        blind.check()


@pytest.mark.parametrize("student", ["resnet18", "timm/mobilenetv3_small_100", "depth_cnn_x2", "vgg8"])
def test_any_student_by_its_name_segments(student: str, tmp_path: Path) -> None:
    config = replace(crossmodal(tmp_path).config, student=student, method=("crd-dense",))
    one = SegmentationPipeline(config, samples(), make_accelerator(cpu=True), tmp_path)
    (done,) = one.runs()
    assert is_trained(one, "crd-dense")
    assert done.network.eval()(one.samples.test[0]["depth"][None]).logits.shape[:2] == (1, 4)


@pytest.mark.parametrize(
    ("method", "named"),
    [("fsp", "16, 32"), ("ab", "preactivations"), ("simkd", "classifier"), ("dkd", "label")],
)
def test_what_cannot_run_is_told_before_a_teacher_trains(method: str, named: str, tmp_path: Path) -> None:
    one = crossmodal(tmp_path, method=("none", method))
    with pytest.raises(ValueError, match=method):
        list(one.runs())
    assert not (tmp_path / "teachers").exists()


def test_a_last_batch_of_one_sample_is_told_before_a_teacher_trains(
    digits: ImageSplits, tmp_path: Path
) -> None:
    odd = replace(digits, train=digits.train.subset(range(9)))
    config = {"student": "resnet18", "method": ("none",)}
    with pytest.raises(ValueError, match=r"9.*8"):
        list(compression(odd, tmp_path, **config).runs())
    assert not (tmp_path / "runs").exists()


def test_networks_and_optimizer_of_ones_own(digits: ImageSplits, tmp_path: Path) -> None:
    made: list[torch.optim.Optimizer] = []

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        made.append(torch.optim.AdamW(parameters, lr=1e-3))
        return made[-1]

    factors: list[float] = []

    def schedule(step: int, total: int) -> float:
        factors.append(1 - step / total)
        return factors[-1]

    own = create("resnet8", num_classes=3)
    config = compression(digits, tmp_path).config
    teacher = create("resnet14", num_classes=3)
    one = CompressionPipeline(
        replace(config, method=("kd",)),
        digits,
        make_accelerator(cpu=True),
        tmp_path,
        student=own,
        teachers=[teacher],
        optimizer=optimizer,
        schedule=schedule,
    )
    before = digest(own.state_dict())
    done = one.run("kd", 0)
    assert len(made) == 1 and factors[0] == 1 and digest(own.state_dict()) == before
    assert type(done.network) is type(own) and digest(done.network.state_dict()) != before


@pytest.mark.parametrize("normalization", ["imagenet", "half", "none", "0.1,0.2,0.3/1,2,3"])
def test_a_teacher_has_its_own_normalization(normalization: str, digits: ImageSplits, tmp_path: Path) -> None:
    teacher = TeachersConfig(architecture=("resnet8",), normalization=("data", normalization), number=2)
    one = compression(digits, tmp_path, teacher=teacher)
    measured, own = (one.builder.teacher_network(number).normalize.mean.flatten() for number in (0, 1))
    expected = {"imagenet": (0.485, 0.456, 0.406), "half": (0.5,) * 3, "none": (0.0,) * 3}
    torch.testing.assert_close(own, torch.tensor(expected.get(normalization, (0.1, 0.2, 0.3))))
    assert not torch.allclose(measured, own)
    with pytest.raises(ValueError, match="imagnet"):
        compression(
            digits, tmp_path, teacher=replace(teacher, normalization=("imagnet",))
        ).builder.teacher_network(0)


def test_the_same_teacher_twice_is_refused() -> None:
    pool = TeachersConfig(architecture=("resnet8",), weights=("a.pth", "b.pth"))
    with pytest.raises(ValueError, match=r"teachers 1 and 3 are the same, resnet8 with a\.pth: .*number 3 "):
        replace(pool, weights=("b.pth", "a.pth", "none", "a.pth"))
    with pytest.raises(ValueError, match=r"teachers 0 and 2 are the same"):
        replace(pool, number=4)
    seen = SegmentersConfig(weights=("imagenet",), labels=False)
    with pytest.raises(ValueError, match=r"teachers 0 and 1 are the same, resnet18 with imagenet"):
        replace(seen, number=2)


@pytest.mark.parametrize(
    "teachers",
    [
        TeachersConfig(architecture=("resnet8", "resnet14"), weights=("imagenet",)),
        TeachersConfig(modality=("l", "ab"), architecture=("resnet8",), weights=("a.pth",)),
        TeachersConfig(layers=("0", "1"), weights=("a.pth",)),
        TeachersConfig(number=3),
        TeachersConfig(number=3, weights=("none", "a.pth", "none")),
        TeachersConfig(number=2, weights=("a.pth",), replace_classifier=True),
        SegmentersConfig(number=2, weights=("imagenet",)),
    ],
    ids=["architectures", "modalities", "layers", "drawn", "one read", "new last layers", "trained on"],
)
def test_teachers_that_differ_are_not(teachers: TeachersConfig) -> None:
    assert len(teachers) > 1
