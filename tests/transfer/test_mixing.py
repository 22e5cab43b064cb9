"""MixUp and CutMix in a transfer: one draw for both networks, and a rule for every method."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from test_pipelines import BRIEF, NEEDS_LABELS, ONE, compression, crossmodal, digits, is_trained
from torch import Tensor, nn

from crdkit.contrast import ContrastConfig, DenseContrast, InstanceContrast, LocalGlobalContrast
from crdkit.data import ImageSplits, Mix, Mixed, read_rows
from crdkit.distillers import JOINT, METHODS, BatchMeta, MemoryLoss, StatelessLoss, Term, functional
from crdkit.engine import Interrupted, ResumeError, digest, label_loss
from crdkit.models import Outputs, create
from crdkit.pipelines.preflight.trial import trials
from crdkit.transfer import Inputs, Teacher, TeachersConfig, TeacherTargets, TransferConfig, TransferTask

__all__ = ["digits"]

MIXES = ("mixup", "cutmix")
BATCH = (*BRIEF, "crd.negatives=batch")


def mixing(mix: Any, **changes: Any) -> TransferConfig:
    return TransferConfig(train=ONE, mix=mix, **changes)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("method", ["none", *METHODS, *JOINT])
def test_every_method_takes_a_step_on_mixed_images(
    method: str, mix: str, digits: ImageSplits, tmp_path: Path
) -> None:
    compression(digits, tmp_path, method=(method,), setting=BATCH, transfer=mixing(mix)).check()


@pytest.mark.parametrize("method", ["none", "crd+kd", "dkd", "simkd", "fsp", "ft", "crd-local"])
def test_a_run_from_its_teacher_to_its_metrics(method: str, digits: ImageSplits, tmp_path: Path) -> None:
    one = compression(digits, tmp_path, method=(method,), setting=BATCH, transfer=mixing("cutmix", ema=0.9))
    (done,) = one.runs()
    assert {"top1", "best_top1", "ema_top1", "best_ema_top1"} <= set(done.metrics)
    other = compression(digits, tmp_path / "plain", method=(method,), setting=BATCH).run(method, 0)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(done.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    )


class Seeing(nn.Module):
    """Keeps what it was shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen = network, list[Tensor]()

    def forward(self, images: Tensor) -> Outputs:
        self.seen.append(images.clone())
        outputs: Outputs = self.network(images)
        return outputs


def test_teachers_and_student_see_the_very_same_mixed_images() -> None:
    first, second = (Seeing(create("resnet8", num_classes=3)) for _ in range(2))
    targets = TeacherTargets([Teacher(first), Teacher(second)], batched=False)
    inputs = Inputs(targets, augment=nn.Identity(), mix=Mix("mixup"), frozen=(targets,))
    given = {"index": torch.arange(4), "rgb": torch.rand(4, 3, 32, 32), "label": torch.tensor([0, 1, 2, 0])}
    images, outputs, meta = inputs(given)
    assert torch.equal(images, first.seen[-1]) and torch.equal(images, second.seen[-1])
    assert not torch.equal(images, given["rgb"])
    assert meta.other_label is not None
    for b, other in enumerate(_partners(images, given["rgb"], meta.share)):
        torch.testing.assert_close(
            images[b], meta.share * given["rgb"][b] + (1 - meta.share) * given["rgb"][other]
        )
        assert meta.label[b] == given["label"][b] and meta.other_label[b] == given["label"][other]
    torch.testing.assert_close(outputs[0].logits, first.network(images).logits)


def _partners(mixed: Tensor, images: Tensor, share: float) -> list[int]:
    rest = [(m - share * x) / (1 - share) for m, x in zip(mixed, images, strict=True)]
    return [min(range(len(images)), key=lambda i, r=r: float((images[i] - r).abs().sum())) for r in rest]


def test_losses_with_labels_are_mixed_as_the_labels_are() -> None:
    student, teacher = torch.randn(5, 4), torch.randn(5, 4)
    label, other, share = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 2, 3, 0, 1]), 0.3
    meta = BatchMeta(torch.arange(5), label, None, other, share)
    task = meta.of_labels(lambda y: label_loss(student, y))
    expected = sum(
        share * F.cross_entropy(student[b], label[b]) + (1 - share) * F.cross_entropy(student[b], other[b])
        for b in range(5)
    )
    torch.testing.assert_close(task, expected / 5)
    found = StatelessLoss(functional.dkd, labels=True)(student, teacher, meta=meta)
    total = torch.zeros(())
    for b in range(5):
        for part, classes in ((share, label), (1 - share, other)):
            row = slice(b, b + 1)
            total = total + part * functional.dkd(student[row], teacher[row], classes[row])
    torch.testing.assert_close(found, total / 5)
    whole = replace(meta, other_label=None)
    torch.testing.assert_close(whole.of_labels(lambda y: label_loss(student, y)), label_loss(student, label))


def test_gradients_of_mixed_labels() -> None:
    student, teacher = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    meta = BatchMeta(torch.arange(3), torch.tensor([0, 1, 2]), None, torch.tensor([2, 2, 0]), 0.6)
    loss = StatelessLoss(functional.dkd, labels=True)
    assert torch.autograd.gradcheck(lambda s, t: loss(s, t, meta=meta), (student, teacher))


@pytest.mark.parametrize("negatives", ["uniform", "other_class", "shared", "all"])
def test_a_memory_of_samples_is_refused_before_a_teacher_trains(
    negatives: str, digits: ImageSplits, tmp_path: Path
) -> None:
    setting = (*BRIEF, f"crd.negatives={negatives}")
    one = compression(digits, tmp_path, method=("kd+crd",), setting=setting, transfer=mixing("cutmix"))
    with pytest.raises(ValueError, match=r"crd keeps a row of every sample.*crd\.negatives=batch"):
        list(one.runs())
    assert not (tmp_path / "teachers").exists()


def test_contrasts_say_whether_they_keep_samples() -> None:
    kept = {
        InstanceContrast(20000, ContrastConfig(4)): True,
        InstanceContrast(20, ContrastConfig(4, negatives="all")): True,
        InstanceContrast(20, ContrastConfig(4)): False,
        DenseContrast(4): False,
        LocalGlobalContrast(4, queue_size=8): False,
        nn.Identity(): True,  # of one's own, which does not say
    }
    for contrast, keeps in kept.items():
        term = Term(nn.Identity(), MemoryLoss(contrast), weight=1.0, memory_inputs=(0, 1))
        assert term.keeps_samples is keeps, contrast
    assert not Term(nn.Identity(), MemoryLoss(nn.Identity()), weight=1.0).keeps_samples
    assert Term(nn.Identity(), nn.Identity(), weight=1.0, memory_inputs=(0,)).keeps_samples


class Small(Mix):
    """Keeps less of the first image than of its partner."""

    def forward(self, batch: dict[str, Tensor]) -> Mixed:
        index = batch["index"]
        return Mixed({**batch, "index": index.roll(1)}, batch["label"].roll(1), 0.25)


def test_a_queue_is_written_with_the_owners_of_the_larger_parts(digits: ImageSplits, tmp_path: Path) -> None:
    one = compression(digits, tmp_path, method=("crd-local",), setting=("crd-local.queue_size=4",))
    student = one.builder.student()
    teachers = [Teacher(create("resnet14", num_classes=3))]
    terms = one.builder.terms(one.config.parse("crd-local"), student, teachers)
    targets = TeacherTargets(teachers)
    inputs = Inputs(targets, augment=nn.Identity(), mix=Small("mixup"), frozen=(targets,))
    task = TransferTask(student, terms, inputs, task_weight=1.0)
    batch = {
        "index": torch.tensor([3, 5, 7, 9]),
        "rgb": torch.rand(4, 3, 32, 32),
        "label": torch.arange(4) % 3,
    }
    _, extra = task.terms(task.module, batch)
    task.update(batch, extra)
    owners = {name: value for name, value in task.memory.state_dict().items() if name.endswith("queue.ids")}
    assert len(owners) == 2 and all(x.tolist() == [9, 3, 5, 7] for x in owners.values())


@pytest.mark.parametrize("method", ["crd-dense", "crd+kd", "fitnet"])
def test_cutmix_pastes_both_modalities_of_a_pair(method: str, tmp_path: Path) -> None:
    mixed = crossmodal(tmp_path, method=(method,), transfer=mixing("cutmix"))
    plain = crossmodal(tmp_path / "plain", method=(method,))
    students = [one.transfer(method, 0).student.state_dict() for one in (mixed, plain)]
    assert is_trained(mixed, method) and digest(students[0]) != digest(students[1])


@pytest.mark.parametrize("method", sorted(NEEDS_LABELS))
@pytest.mark.parametrize("mix", MIXES)
def test_label_maps_are_mixed_as_their_images(method: str, mix: str, tmp_path: Path) -> None:
    one = crossmodal(
        tmp_path, method=(method,), transfer=mixing(mix), labeled_transfer=True, student_modality="thermal"
    )
    one.check()
    workspace = one.workspace(trial=True)
    (trial,) = [t for t in trials(one.program, workspace) if t.training.kind == "transfer"]
    task: Any = trial.stage.task
    _, _, meta = task.inputs(read_rows(trial.stage.dataset, range(4)))
    # CutMix pastes pixels of both into one map; MixUp keeps both maps.
    assert 0 < meta.share < 1 and (meta.other_label is None) == (mix == "cutmix")


def test_mixup_of_depth_is_refused_before_a_teacher_trains(tmp_path: Path) -> None:
    one = crossmodal(tmp_path, method=("crd-dense",), transfer=mixing("mixup"))
    with pytest.raises(ValueError, match=r"'depth'.*cutmix"):
        list(one.runs())
    assert not (tmp_path / "teachers").exists()


def test_an_ensemble_answers_for_mixed_images(digits: ImageSplits, tmp_path: Path) -> None:
    teacher = TeachersConfig(architecture=("resnet14",), number=2, train=ONE)
    for method in ("kd-weighted", "crd", "kd-mean"):
        one = compression(
            digits, tmp_path, method=(method,), setting=BATCH, teacher=teacher, transfer=mixing("mixup")
        )
        one.run(method, 0)
        assert is_trained(one, method)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cached teachers.*cached-augmentations 0, got 4"):
        TransferConfig(mix="cutmix", cached_augmentations=4)
    for alpha in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="mix_alpha must be positive"):
            TransferConfig(mix="mixup", mix_alpha=alpha)
    for ema in (0.0, 1.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"transfer\.ema.*\(0, 1\)"):
            TransferConfig(ema=ema)


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_interrupted_it_goes_on_with_the_same_mixes_and_ends_with_the_same_bits(
    stop: int, digits: ImageSplits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = replace(ONE, epochs=2, checkpoint_every=0.5)
    changes: dict[str, Any] = {
        "method": ("dkd",),
        "transfer": TransferConfig(train=train, mix="mixup", ema=0.9),
    }
    compression(digits, tmp_path / "a", **changes).run("dkd", 0)
    mix, count = Mix.forward, 0

    def stopping(self: Mix, batch: dict[str, Tensor]) -> Mixed:
        nonlocal count
        count += 1
        if count == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return mix(self, batch)

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(Mix, "forward", stopping)
        compression(digits, tmp_path / "b", **changes).run("dkd", 0)
    again = compression(digits, tmp_path / "b", **changes).run("dkd", 0)
    for name in ("student", "student-ema"):
        one, other = (load_file(tmp_path / x / f"runs/dkd/seed-0/{name}.safetensors") for x in "ab")
        assert one.keys() == other.keys() and all(torch.equal(value, other[n]) for n, value in one.items())
    assert again.history[-1]["ema_top1"] == again.metrics["ema_top1"]


def test_a_mix_is_part_of_what_a_transfer_is_known_by(digits: ImageSplits, tmp_path: Path) -> None:
    compression(digits, tmp_path, method=("kd",)).run("kd", 0)
    with pytest.raises(ResumeError, match="mix"):
        compression(digits, tmp_path, method=("kd",), transfer=mixing("mixup")).run("kd", 0)
