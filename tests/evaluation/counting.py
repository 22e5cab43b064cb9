"""A scene, and a rank that counts its share of it; a child process finds this module by its name."""

from multiprocessing.connection import Connection

import torch
from torch import Tensor

from crdkit.evaluation import ConfusionMatrix


def scene(seed: int = 0, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Predictions and labels (6, 8, 9) with ignored pixels; images differ in the classes they show."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (6, 8, 9), generator=generator)
    label[:3] %= 2
    wrong = torch.rand(label.shape, generator=generator) < 0.3
    prediction = torch.where(wrong, torch.randint(0, classes, label.shape, generator=generator), label)
    label[torch.rand(label.shape, generator=generator) < 0.1] = 255
    return prediction, label


def rank(number: int, store: str, result: Connection) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    prediction, label = scene()
    matrix = ConfusionMatrix(5)
    matrix.update(prediction[number::2], label[number::2])
    matrix.reduce()
    result.send(matrix.counts.tolist())
    torch.distributed.destroy_process_group()
