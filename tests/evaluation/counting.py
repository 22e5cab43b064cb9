"""Scenes and answers, and a rank that judges its share; a child process finds this module by its name."""

from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from crdkit.evaluation import ConfusionMatrix, evaluate_classifier


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
        lambda logits: logits, batches, 7,
        teacher=lambda logits: logits, modality="student", teacher_modality="teacher", sharded=True,
    )  # fmt: skip
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in metrics.items()}


def rank(number: int, store: str, result: Connection) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    prediction, label = scene()
    matrix = ConfusionMatrix(5)
    matrix.update(prediction[number::2], label[number::2])
    matrix.reduce()
    uneven = judged([[slice(0, 16), slice(16, 30)], [slice(30, 37)]][number])
    alone = judged([[], [slice(0, 37)]][number])
    result.send({"counts": matrix.counts.tolist(), "uneven": uneven, "one rank has none": alone})
    torch.distributed.destroy_process_group()
