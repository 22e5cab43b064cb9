"""One step of every training and method in every pipeline on a GPU that is none."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from fake_cuda import CUDA, FakeGPU, Transfers, fake_step
from test_pipelines import NEEDS_LABELS, ONE, compression, crossmodal, digits
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException
from torch.testing._internal.distributed.fake_pg import FakeStore

from crdkit.contrast import gpu
from crdkit.crossmodal import RecognitionConfig, RecognitionPipeline, SegmentersConfig
from crdkit.data import (
    AugmentConfig,
    ImageAugment,
    ImageAugmentConfig,
    ImagesConfig,
    ImageSplits,
    JoinedPairs,
    PairedAugment,
    PairedTensors,
    SelectedPairs,
    load_splits,
    read_rows,
    with_index,
)
from crdkit.distillers import JOINT, METHODS
from crdkit.engine import Task, WeightAverage, make_accelerator
from crdkit.pipelines import Stage
from crdkit.transfer import CachedAugmentations, TeachersConfig, TransferConfig

__all__ = ["digits"]


@pytest.fixture(autouse=True)
def without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel is tried once a device before it is believed, and there is no device here."""
    monkeypatch.setattr(gpu, "has_gather", lambda device: False)


REFUSED = {"ab", "fsp", "simkd", "dist", "mlkd", "reviewkd"}
"""What does not compare a segmenter of these maps with the small student."""


@pytest.fixture
def two_ranks() -> Iterator[None]:
    """This is the first of two ranks, and the other says nothing."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}

    def step(*args, what: str) -> None:
        found.setdefault(what, []).extend(fake_step(*args, what=what))

    # The contrast asks autograd's engine in its forward, which asks CUDA for a context.
    monkeypatch.setattr(
        torch.autograd, "grad", lambda _, inputs, **how: tuple(torch.zeros_like(x) for x in inputs)
    )
    monkeypatch.setattr("crdkit.pipelines.preflight.trial.trial_step", step)
    return found


@pytest.mark.parametrize("method", ["none", *METHODS, *JOINT])
def test_compression_stays_on_the_gpu(method: str, digits: ImageSplits, tmp_path: Path, steps) -> None:
    compression(digits, tmp_path, method=(method,)).check()
    assert steps and not any(steps.values()), steps


@pytest.mark.parametrize("method", sorted({*METHODS, *JOINT} - REFUSED))
def test_rgb_to_depth_stays_on_the_gpu(method: str, tmp_path: Path, steps) -> None:
    crossmodal(tmp_path, method=(method,), labeled_transfer=method in NEEDS_LABELS).check()
    assert steps and not any(steps.values()), steps


@pytest.mark.parametrize("method", ["kd-mean", "crd", "vid", "crd-dense"])
def test_two_teachers_stay_on_the_gpu(method: str, tmp_path: Path, steps) -> None:
    teacher = SegmentersConfig(modality=("rgb", "depth"), architecture=("vgg8", "depth_cnn"), width=8)
    crossmodal(tmp_path, method=(method,), teacher=teacher, student_modality="thermal").check()
    assert steps and not any(steps.values()), steps


@pytest.mark.parametrize("method", ["kd", "fitnet", "at", "sp", "vid", "crd", "crd-local", "crd-dense"])
def test_l_to_ab_stays_on_the_gpu(method: str, tmp_path: Path, steps) -> None:
    images = load_splits(ImagesConfig("shapes", classes=3), torch.device("cpu"), unlabeled=True)
    images = replace(
        images, train=images.train.subset(range(16)), unlabeled=images.unlabeled.subset(range(16))
    )
    config = RecognitionConfig(
        method=(method,),
        setting=("crd.num_negatives=8",),
        student="resnet14",
        cpu=True,
        teacher=TeachersConfig(modality=("l",), architecture=("resnet8",)),
    )
    RecognitionPipeline(config, images, make_accelerator(cpu=True), tmp_path).check()
    assert steps and not any(steps.values()), steps


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
@pytest.mark.parametrize("method", ["none", *METHODS, *JOINT])
def test_mixed_images_stay_on_the_gpu(
    method: str, mix: Any, digits: ImageSplits, tmp_path: Path, steps
) -> None:
    setting = ("crd.negatives=batch", "ab.epochs=1", "ft.epochs=1", "fsp.epochs=1")
    transfer = TransferConfig(train=ONE, mix=mix, ema=0.9)
    compression(digits, tmp_path, method=(method,), setting=setting, transfer=transfer).check()
    assert steps and not any(steps.values()), steps


@pytest.mark.parametrize("method", ["crd-dense+kd", "dkd"])
def test_mixed_pairs_stay_on_the_gpu(method: str, tmp_path: Path, steps) -> None:
    transfer = TransferConfig(train=ONE, mix="cutmix")
    crossmodal(tmp_path, method=(method,), labeled_transfer="dkd" in method, transfer=transfer).check()
    assert steps and not any(steps.values()), steps


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("kd-mean", "resnet8"),
        ("crd", "vgg8"),
        ("vid", "wrn_16_1"),
        ("kd-weighted", "MobileNetV2"),
        ("kd", "ShuffleV1"),
        ("kd", "ShuffleV2"),
        ("kd", "resnet18"),
        ("ca-mkd", "resnet8"),
        ("aekd+aekd-hint", "resnet8"),
        ("angle", "resnet8"),
    ],
)
def test_an_ensemble_of_one_architecture_stays_on_the_gpu(
    method: str, name: str, digits: ImageSplits, tmp_path: Path, steps
) -> None:
    teacher = TeachersConfig(architecture=(name,), number=2)
    compression(digits, tmp_path, method=(method,), teacher=teacher).check()
    assert steps and not any(steps.values()), steps


@pytest.mark.parametrize("method", ["kd-mean", "dkd", "at", "vid", "sp", "crd", "angle"])
def test_dropped_teachers_stay_on_the_gpu(method: str, digits: ImageSplits, tmp_path: Path, steps) -> None:
    teacher = TeachersConfig(architecture=("resnet8",), number=2)
    transfer = TransferConfig(drop_teachers=0.5)
    compression(digits, tmp_path, method=(method,), teacher=teacher, transfer=transfer).check()
    assert steps and not any(steps.values()), steps


@pytest.mark.parametrize("negatives", ["uniform", "shared", "all", "batch"])
def test_two_ranks_stay_on_their_gpus(
    negatives: str, digits: ImageSplits, tmp_path: Path, steps, two_ranks: None
) -> None:
    setting = ("crd.num_negatives=8", f"crd.negatives={negatives}", "crd-dense.queue_size=16")
    compression(digits, tmp_path, method=("crd", "crd-local", "crd-dense"), setting=setting).check()
    assert steps and not any(steps.values()), steps


def test_relational_contrasts_and_standardized_targets_stay_on_their_gpus(
    digits: ImageSplits, tmp_path: Path, steps, two_ranks: None
) -> None:
    names = ("crd", "crd-local", "crd-dense")
    soft = [f"{name}.objective=relational" for name in names]
    setting = ("crd.negatives=all", *soft, *(f"{name}.standardize=true" for name in names))
    compression(digits, tmp_path, method=(*names, "crd-dense+cosine"), setting=setting).check()
    assert steps and not any(steps.values()), steps


def test_shared_statistics_and_relations_stay_on_their_gpus(
    digits: ImageSplits, tmp_path: Path, steps, two_ranks: None
) -> None:
    transfer = TransferConfig(train=replace(ONE, sync_batchnorm=True))
    compression(
        digits,
        tmp_path,
        method=("kd", "sp", "cc", "rkd", "pkt", "dist", "itrd", "wcord", "srd", "mlkd"),
        transfer=transfer,
    ).check()
    assert steps and not any(steps.values()), steps


def test_segmenters_of_two_ranks_stay_on_their_gpus(tmp_path: Path, steps, two_ranks: None) -> None:
    crossmodal(tmp_path, method=("kd",)).check()
    assert steps and not any(steps.values()), steps


def sent(run: Callable[[], Any]) -> tuple[int, list[str]]:
    """The copies of pinned memory to the GPU, and whatever waits for it."""
    with Transfers() as transfers:
        run()
    return transfers.sent, transfers.found


def test_the_draws_of_a_kind_are_one_copy() -> None:
    gpu = FakeGPU()
    batch = {
        "index": torch.arange(4),
        "rgb": torch.rand(4, 3, 8, 8),
        "depth": torch.rand(4, 1, 8, 8),
        "label": torch.zeros(4, 8, 8, dtype=torch.int64),
    }
    batch = {name: gpu.tensor(value) for name, value in batch.items()}
    with gpu.mode:
        assert sent(lambda: PairedAugment(AugmentConfig())(batch)) == (3, [])
        for crop in ("resized", "padded"):
            augment = ImageAugment(ImageAugmentConfig(crop=crop, jitter=0.5))
            assert sent(lambda augment=augment: augment(batch)) == (2, [])


def test_an_average_of_weights_waits_for_nothing() -> None:
    gpu, network = FakeGPU(), nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    gpu.move([network])
    with gpu.mode:
        average = WeightAverage(network, 0.9)
        average.start()
        assert all(value.device == CUDA for value in average.tensors.values())
        assert sent(lambda: average.update(3)) == (0, [])


def test_sets_on_a_gpu_send_their_rows_once() -> None:
    gpu = FakeGPU()
    images, targets = torch.zeros(2, 8, 3, 4, 4, dtype=torch.uint8), torch.rand(2, 8, 5)
    tensors = {"rgb": gpu.tensor(images[0]), "label": gpu.tensor(torch.arange(8))}
    store = {"images": gpu.tensor(images), "label": tensors["label"], "teacher.0.logits": gpu.tensor(targets)}
    with gpu.mode:
        whole = PairedTensors(**tensors)
        assert whole.device == CUDA
        for dataset, copies in [
            (whole, 1),
            (CachedAugmentations(store, "rgb"), 1),
            (with_index(whole), 2),
            (SelectedPairs(whole, names=["rgb"]), 2),
            (JoinedPairs(whole, whole), 2),
        ]:
            assert sent(lambda dataset=dataset: read_rows(dataset, [0, 1, 2])) == (copies, []), dataset


class Wasteful(Task):
    """Asks for the values of a GPU's tensor, or sends a tensor there in every step."""

    def __init__(self, fault: str) -> None:
        self.module, self.weights, self.fault = nn.Linear(1, 1), {"task": 1.0}, fault

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        x = batch["index"][:, None].float()
        if self.fault == "sent":
            x = x * torch.ones(1).to(x.device)
        elif self.fault == "not pinned":
            x = x * torch.ones(1).to(x.device, non_blocking=True)
        elif self.fault == "cast":
            x = x * torch.ones(1).double().pin_memory().to(x, non_blocking=True)
        elif self.fault == "read":
            x = x * float(x.to("cpu", non_blocking=True).sum())
        elif self.fault == "placed":
            x = x[torch.arange(4)]
        elif self.fault == "counted":
            x[x > 0] = x.flatten()
        elif self.fault == "elsewhere":
            x = x * torch.ones(4, 1)
        elif self.fault == "asked":
            x = x[x > 0][:, None]
        return {"task": module(x).mean()}, None


def test_the_check_finds_what_it_looks_for() -> None:
    data = PairedTensors(depth=torch.rand(4, 1, 2, 2))
    assert fake_step(Stage(Wasteful("none"), data), ONE, None, what="none") == []
    for fault in ("sent", "not pinned", "cast"):
        assert fake_step(Stage(Wasteful(fault), data), ONE, None, what=fault) == ["cpu -> cuda (1,)"]
    for fault, found in [
        ("read", "cuda -> cpu (4, 1)"),
        ("placed", "cpu index (4,)"),
        ("counted", "count of (4, 1)"),
    ]:
        assert fake_step(Stage(Wasteful(fault), data), ONE, None, what=fault) == [found]
    with pytest.raises(RuntimeError, match="device"):
        fake_step(Stage(Wasteful("elsewhere"), data), ONE, None, what="elsewhere")
    with pytest.raises(DynamicOutputShapeException):
        fake_step(Stage(Wasteful("asked"), data), ONE, None, what="asked")
