"""Scenes and answers, and a rank that judges its share; a child process finds this module by its name."""

from contextlib import nullcontext
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from crdkit.data import PairedTensors
from crdkit.evaluation import AlignmentEvaluator, ConfusionMatrix, evaluate_classifier
from crdkit.models import Outputs


def scene(seed: int = 0, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Predictions and labels (6, 8, 9) with ignored pixels; images differ in the classes they show."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (6, 8, 9), generator=generator)
    label[:3] %= 2
    wrong = torch.rand(label.shape, generator=generator) < 0.3
    prediction = torch.where(wrong, torch.randint(0, classes, label.shape, generator=generator), label)
    label[torch.rand(label.shape, generator=generator) < 0.1] = 255
    return prediction, label


def answers(seed: int = 0, samples: int = 37, classes: int = 7) -> dict[str, Tensor]:
    """Logits of a student and of a teacher that is near to it, (samples, classes), and labels."""
    generator = torch.Generator().manual_seed(seed)
    student = 3 * torch.randn(samples, classes, generator=generator) + torch.arange(classes)
    return {
        "student": student,
        "teacher": student + torch.randn(samples, classes, generator=generator),
        "label": torch.randint(0, classes, (samples,), generator=generator),
    }


def judged(shares: list[slice]) -> dict[str, Any]:
    """The metrics of all ranks' samples, this rank having those of `shares`, a batch each."""
    given = answers()
    batches = [{name: value[rows] for name, value in given.items()} for rows in shares]
    metrics = evaluate_classifier(
        lambda logits: logits,
        batches,
        7,
        teacher=lambda logits: logits,
        modality="student",
        teacher_modality="teacher",
        sharded=True,
    )
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in metrics.items()}


class Flat(nn.Module):
    """A linear map of all pixels, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(12, 5, generator=generator))

    def forward(self, x: Tensor) -> Outputs:
        return Outputs(None, (), (x.flatten(1) @ self.weight).relu())


def aligned() -> dict[str, float]:
    """The alignment of two networks on 300 and 150 pairs, of which 280 and 150 are read."""
    parts = []
    for seed, count in ((0, 300), (1, 150)):
        generator = torch.Generator().manual_seed(seed)
        rgb = torch.randint(0, 256, (count, 3, 2, 2), dtype=torch.uint8, generator=generator)
        parts.append(PairedTensors(rgb=rgb))
    accelerator: Any = SimpleNamespace(device=torch.device("cpu"), autocast=nullcontext)
    evaluator = AlignmentEvaluator(*parts, accelerator, modality="rgb", pairs=280)
    return evaluator(Flat(2), [(Flat(3), "rgb")])


def rank(number: int, store: str, result: Connection) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    prediction, label = scene()
    matrix = ConfusionMatrix(5)
    matrix.update(prediction[number::2], label[number::2])
    matrix.reduce()
    uneven = judged([[slice(0, 16), slice(16, 30)], [slice(30, 37)]][number])
    alone = judged([[], [slice(0, 37)]][number])
    result.send(
        {"counts": matrix.counts.tolist(), "uneven": uneven, "one rank has none": alone, "aligned": aligned()}
    )
    torch.distributed.destroy_process_group()
