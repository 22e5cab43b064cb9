"""One step of every training and method in every pipeline on a GPU that is none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cuda import fake_step
from test_pipelines import NEEDS_LABELS, compression, crossmodal, digits
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from crdkit.crossmodal import RecognitionConfig, RecognitionPipeline, SegmentersConfig
from crdkit.data import ImagesConfig, ImageSplits, PairedTensors, load_splits
from crdkit.distillers import JOINT, METHODS
from crdkit.engine import Task, make_accelerator
from crdkit.transfer import TeachersConfig

__all__ = ["digits"]


REFUSED = {"ab", "fsp", "simkd", "dist", "reviewkd"}
"""What does not compare a segmenter of these maps with the small student."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}

    def step(*args, what: str) -> None:
        found.setdefault(what, []).extend(fake_step(*args, what=what))

    # The contrast asks autograd's engine in its forward, which asks CUDA for a context.
    monkeypatch.setattr(torch.autograd, "grad", lambda _, inputs: tuple(torch.zeros_like(x) for x in inputs))
    monkeypatch.setattr("crdkit.transfer.dry_run.dry_step", step)
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
        method=(method,), setting=("crd.num_negatives=8",), student="resnet14", cpu=True,
        teacher=TeachersConfig(modality=("l",), architecture=("resnet8",)),
    )  # fmt: skip
    RecognitionPipeline(config, images, make_accelerator(cpu=True), tmp_path).check()
    assert steps and not any(steps.values()), steps


class Wasteful(Task):
    """Asks for the values of a GPU's tensor, or sends a tensor there in every step."""

    def __init__(self, fault: str) -> None:
        self.module, self.weights, self.fault = nn.Linear(1, 1), {"task": 1.0}, fault

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        x = batch["index"][:, None].float()
        if self.fault == "sent":
            x = x * torch.ones(1).to(x.device)
        elif self.fault == "elsewhere":
            x = x * torch.ones(4, 1)
        elif self.fault == "asked":
            x = x[x > 0][:, None]
        return {"task": module(x).mean()}, None


def test_the_check_finds_what_it_looks_for() -> None:
    data = PairedTensors(depth=torch.rand(4, 1, 2, 2))
    assert fake_step(Wasteful("none"), data, 4, None, what="none") == []
    assert fake_step(Wasteful("sent"), data, 4, None, what="sent") == ["cpu -> cuda (1,)"]
    with pytest.raises(RuntimeError, match="device"):
        fake_step(Wasteful("elsewhere"), data, 4, None, what="elsewhere")
    with pytest.raises(DynamicOutputShapeException):
        fake_step(Wasteful("asked"), data, 4, None, what="asked")
