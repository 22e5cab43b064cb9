"""Every pass over a data set reads in worker processes if asked, and gives the same numbers."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crdkit.data import Statistics
from crdkit.engine import make_accelerator
from crdkit.evaluation import (
    AlignmentEvaluator,
    Evaluator,
    Layer,
    SegmentationEvaluator,
    embed,
    evaluate_classifier,
    evaluate_segmenter,
    extract,
    extract_layers,
)
from crdkit.models import Outputs

WORKERS = 2


class Noted:
    """300 samples; every process that reads one leaves a file named by its number."""

    def __init__(self, folder: Path, *, maps: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.folder = folder
        self.rgb = torch.rand(300, 3, 4, 4, generator=generator)
        self.label = torch.randint(5, (300, 4, 4) if maps else (300,), generator=generator)

    def __len__(self) -> int:
        return len(self.rgb)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        (self.folder / str(os.getpid())).touch()
        return {"rgb": self.rgb[index], "label": self.label[index]}

    def readers(self) -> set[int]:
        """The processes that have read since the last call."""
        found = {int(file.name) for file in self.folder.iterdir()}
        for file in self.folder.iterdir():
            file.unlink()
        return found


class Network(nn.Module):
    """A map, its average, and logits of five classes of either."""

    def __init__(self, *, dense: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(5, 3, generator=generator))
        self.dense = dense

    def forward(self, rgb: Tensor) -> Outputs:
        scores = torch.einsum("ck,bkhw->bchw", self.weight, rgb)
        return Outputs(scores if self.dense else scores.mean((2, 3)), (rgb, scores), scores.mean((2, 3)))


def aligned(split: Noted, workers: int) -> Any:
    accelerator: Any = SimpleNamespace(device=torch.device("cpu"), autocast=nullcontext)
    evaluator = AlignmentEvaluator(split, split, accelerator, modality="rgb", num_workers=workers)
    return evaluator(Network(), [(Network(), "rgb")])


def judged(split: Noted, workers: int) -> Any:
    evaluator = Evaluator(split, 5, make_accelerator(cpu=True), num_workers=workers)
    top1 = evaluator.top1()(Network())
    return dict(evaluator(Network(), teacher=Network())), top1, evaluator.logits(Network())


def segmented(split: Noted, workers: int) -> Any:
    evaluator = SegmentationEvaluator(split, 5, make_accelerator(cpu=True), num_workers=workers)
    return dict(evaluator(Network(dense=True))), evaluator.summary()(Network(dense=True))


PASSES: dict[str, Callable[[Noted, int], Any]] = {
    "Evaluator": judged,
    "SegmentationEvaluator": segmented,
    "AlignmentEvaluator": aligned,
    "evaluate_classifier": lambda split, n: evaluate_classifier(
        Network(), split, 5, modality="rgb", num_workers=n
    ),
    "evaluate_segmenter": lambda split, n: evaluate_segmenter(
        Network(dense=True), split, 5, modality="rgb", num_workers=n
    ),
    "extract": lambda split, n: extract(Network(), split, modality="rgb", num_workers=n),
    "extract_layers": lambda split, n: extract_layers(
        Network(), split, [Layer(0, 2), Layer()], modality="rgb", num_workers=n
    ),
    "embed": lambda split, n: embed(Network(), split, modality="rgb", num_workers=n),
    "Statistics.measure": lambda split, n: Statistics.measure(split, num_workers=n).as_dict(),
}


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_is_read_by_workers_and_gives_the_same(name: str, tmp_path: Path) -> None:
    split = Noted(tmp_path, maps="egment" in name)
    alone = PASSES[name](split, 0)
    assert split.readers() == {os.getpid()}
    found = PASSES[name](split, WORKERS)
    readers = split.readers()
    assert os.getpid() not in readers and len(readers) % WORKERS == 0 and readers
    torch.testing.assert_close(found, alone, rtol=0, atol=0, equal_nan=True)
