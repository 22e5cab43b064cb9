"""What is measured around and during a transfer, and that measuring changes nothing."""

import json
import warnings
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crdkit.crossmodal import ProbeConfig, RecognitionConfig, RecognitionPipeline
from crdkit.data import ImageAugmentConfig, ImagesConfig, load_splits
from crdkit.distillers import SelectOutputs, StatelessLoss, Term
from crdkit.engine import TrainConfig, make_accelerator
from crdkit.evaluation import AlignmentEvaluator
from crdkit.models import Outputs
from crdkit.pipelines.diagnostics import Diagnostics, diagnostics
from crdkit.transfer import Teacher, TransferConfig, TransferModule

TWO = TrainConfig(epochs=3, batch_size=16, lr=0.02, evaluate_every=2)
CONFIG = RecognitionConfig(
    cpu=True,
    method=("crd",),
    data=ImagesConfig("shapes", classes=3, augment=ImageAugmentConfig.cifar()),
    setting=("crd.embed_dim=8", "crd.negatives=batch", "ab.epochs=1", "fitnet.hint=-1"),
    transfer=TransferConfig(train=TWO),
    probe=ProbeConfig(dimension=16, neighbors=3),
    finetune=replace(TWO, epochs=1),
)
NAMES = {"cosine", "r1", "r10", "back_r1", "back_r10", "cka", "effective_rank", "spread", "pairs"}


class Small(nn.Module):
    """Two convolutions whose batch norm follows its batches; with `noise` drawn in evaluation, too."""

    def __init__(self, width: int, channels: int, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise
        self.stem = nn.Conv2d(channels, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.head = nn.Linear(2 * width, 3)

    def forward(self, x: Tensor) -> Outputs:
        stem = self.norm(self.stem(x + self.noise * torch.randn_like(x)))
        first, last = stem.relu(), self.last(stem.relu())
        embedding = last.relu().mean((2, 3))
        return Outputs(self.head(embedding), (first, last.relu()), embedding, (stem, last))


class Unwatched(RecognitionPipeline):
    @cached_property
    def aligner(self) -> None:
        return None


def student() -> nn.Module:
    return Small(4, 2, noise=0.01)


def pipeline(
    folder: Path, kind: type[RecognitionPipeline] = RecognitionPipeline, **changes: Any
) -> RecognitionPipeline:
    images = load_splits(CONFIG.data, torch.device("cpu"), unlabeled=True)
    images = replace(
        images,
        unlabeled=images.unlabeled.subset(range(32)),
        train=images.train.subset(range(48)),
        plain=images.plain.subset(range(48)),
        test=images.test.subset(range(24)),
    )
    own: dict[str, Any] = {"student": student, **changes.pop("own", {})}
    if "teachers" not in own:
        torch.manual_seed(7)
        own["teachers"] = [Teacher(Small(4, 1), "l")]
    return kind(replace(CONFIG, **changes), images, make_accelerator(cpu=True), folder, **own)


def align(
    one: RecognitionPipeline, network: nn.Module, teachers: list[Teacher] | None = None
) -> dict[str, float]:
    return Diagnostics(one.aligner, teachers or one.teachers, one.accelerator).align(network)


@pytest.mark.parametrize(("method", "cached"), [("crd", 0), ("fitnet", 1), ("ab", 0)])
def test_measuring_changes_no_bit_of_the_student(method: str, cached: int, tmp_path: Path) -> None:
    transfer = TransferConfig(train=TWO, cached_augmentations=cached)
    files, states = [], []
    for kind in (RecognitionPipeline, Unwatched):
        one = pipeline(tmp_path / kind.__name__, kind, method=(method,), transfer=transfer)
        done = one.transfer(method, 0)
        states.append(torch.get_rng_state())
        assert bool(done.after) == bool(done.before) == (kind is RecognitionPipeline)
        files.append((one.stages.folder / f"runs/{method}/seed-0/student.safetensors").read_bytes())
    assert files[0] == files[1] and torch.equal(*states)


def test_figures_are_in_the_metrics_file_the_results_and_the_history(tmp_path: Path) -> None:
    one = pipeline(tmp_path, method=("none", "crd"))
    none, crd = one.runs()
    assert not any("alignment" in name for name in none.metrics)
    for prefix in ("alignment", "alignment_before"):
        figures = {name for name in crd.metrics if name.startswith(f"{prefix}/")}
        assert figures == {f"{prefix}/{name}" for name in NAMES}
        assert crd.metrics[f"{prefix}/pairs"] == 24
    assert crd.metrics["alignment/cosine"] != crd.metrics["alignment_before/cosine"]
    assert crd.metrics["alignment/r1"] <= crd.metrics["alignment/r10"]

    rows = crd.details["alignment"]
    assert [row["epoch"] for row in rows] == [0, 2, 3]
    lines = (tmp_path / "runs/crd/seed-0/transfer/metrics.jsonl").read_text().splitlines()
    logged = [row for row in map(json.loads, lines) if row["kind"] == "epoch"]
    assert ["alignment/r1" in row for row in logged] == [False, True, True]
    for row, line in zip(rows[1:], logged[1:], strict=True):
        assert {f"alignment/{name}" for name in NAMES} <= row.keys()
        assert all(line[name] == value for name, value in row.items())
    assert all(crd.metrics[name] == value for name, value in rows[-1].items() if name != "epoch")

    # Of the student itself, before and after.
    transferred = one.transfer("crd", 0)
    assert align(one, one.transfer("none", 0).student).keys() == transferred.before.keys()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = list(pipeline(tmp_path, method=("none", "crd")).runs())
    assert [run.metrics for run in again] == [none.metrics, crd.metrics]
    assert again[1].details == crd.details
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


def test_before_is_the_student_that_none_leaves_and_after_the_one_that_is_kept(tmp_path: Path) -> None:
    plain = {"own": {"student": lambda: Small(4, 2)}}
    one = pipeline(tmp_path, **plain)
    transferred, untouched = one.transfer("crd", 0), one.transfer("none", 0)
    assert align(one, untouched.student) == transferred.before
    after = {name: value for name, value in transferred.after.items() if name.startswith("alignment/")}
    assert after and align(one, transferred.student) == after
    assert align(one, transferred.student, one.teachers[:1]) == after
    assert transferred.after.keys() - after.keys() == {
        f"crd/{name}" for name in ("true_score", "noise_score", "critic_accuracy")
    }
    assert align(pipeline(tmp_path / "other", Unwatched, **plain), untouched.student) == {}


class Critic(nn.Module):
    def __init__(self, accuracy: float) -> None:
        super().__init__()
        self.accuracy = accuracy
        self.inner = Told() if accuracy == 1 else nn.Identity()

    def diagnostics(self) -> dict[str, float]:
        return {"critic_accuracy": self.accuracy, "true_score": self.accuracy / 2, "odd": float("nan")}


class Told(nn.Module):
    def diagnostics(self) -> dict[str, float]:
        raise AssertionError("the outer one speaks")


def term(objective: nn.Module) -> Term:
    return Term(SelectOutputs("embedding"), objective, weight=1.0)


def test_terms_tell_of_their_critics_if_they_can() -> None:
    silent = term(StatelessLoss(torch.dot))
    several = nn.Sequential(nn.Sequential(Critic(0.5)), nn.Identity(), Critic(1.0))
    found = diagnostics({"kd": silent, "crd": term(several), "crd-dense": term(Critic(0.25))})
    assert found == {
        "crd/critic_accuracy": 0.75,
        "crd/true_score": 0.375,
        "crd-dense/critic_accuracy": 0.25,
        "crd-dense/true_score": 0.125,
    }
    assert diagnostics({"kd": silent}) == {}


def taught() -> nn.Module:
    return TransferModule(nn.Identity(), {})


def test_a_judge_has_its_figures_beside_the_others() -> None:
    accelerator = make_accelerator(cpu=True)
    watch = Diagnostics(None, [], accelerator)
    silent = {"kd": term(StatelessLoss(torch.dot))}
    assert watch.evaluate_with(None, silent) is None and not watch.aligns

    def judge(module: nn.Module) -> dict[str, float]:
        return {"top1": 0.5}

    both = watch.evaluate_with(judge, {"crd": term(Critic(0.5))})
    assert both is not None
    assert both(taught()) == {"top1": 0.5, "crd/critic_accuracy": 0.5, "crd/true_score": 0.25}
    alone = watch.evaluate_with(None, {"crd": term(Critic(0.5))})
    assert alone is not None and "top1" not in alone(taught())


class Collapsing(AlignmentEvaluator):
    def __init__(self, **figures: float) -> None:
        self.figures = figures

    def __call__(self, student: nn.Module, teachers: Any) -> dict[str, float]:
        return self.figures


def evaluate_thrice(aligner: AlignmentEvaluator) -> list[dict[str, float]]:
    watching = Diagnostics(aligner, [Teacher(nn.Identity())], make_accelerator(cpu=True)).evaluate_with(
        None, {}
    )
    assert watching is not None
    return [watching(taught()) for _ in range(3)]


@pytest.mark.parametrize(("rank", "spread", "said"), [(1.01, 0.5, "1.01"), (40.0, 0.0012, "0.0012")])
def test_a_collapsed_embedding_is_told_once_with_what_to_do(rank: float, spread: float, said: str) -> None:
    with pytest.warns(UserWarning, match=rf"{said}.*crd\.negatives=batch") as found:
        rows = evaluate_thrice(Collapsing(effective_rank=rank, spread=spread))
    assert len(found) == 1
    assert rows == [{"alignment/effective_rank": rank, "alignment/spread": spread}] * 3


def test_an_embedding_that_spreads_is_no_reason_to_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate_thrice(Collapsing(effective_rank=4.0, spread=0.1))
