"""The judge of a run: a teacher is asked once, as long as it stays what it was."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from crdkit.engine import make_accelerator
from crdkit.evaluation import Evaluator, evaluate_classifier
from crdkit.models import Outputs


class Asked(nn.Module):
    """A linear classifier that counts its batches, with a batch norm that training mode would show."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5))
        self.batches = 0

    def forward(self, images: Tensor) -> Outputs:
        self.batches += 1
        return Outputs(self.layers(images), (), images.flatten(1))


class Split:
    """300 images, in three batches."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.rgb = torch.randn(300, 3, 2, 2, generator=generator)
        self.label = torch.randint(5, (300,), generator=generator)

    def __len__(self) -> int:
        return 300

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"rgb": self.rgb[index], "label": self.label[index]}


def test_a_teacher_is_asked_once_until_it_changes() -> None:
    split, teacher, students = Split(), Asked().train(), [Asked() for _ in range(3)]
    judge = Evaluator(split, 5, make_accelerator(cpu=True))
    for asked, student in zip((3, 3, 6), students, strict=True):
        if asked == 6:
            with torch.no_grad():
                teacher.layers[1].weight.mul_(-1)
        expected = evaluate_classifier(student, split, 5, teacher=deepcopy(teacher), modality="rgb")
        found = judge(student, teacher=teacher)
        assert teacher.batches == asked and teacher.training
        assert found.keys() == expected.keys()
        assert (found["top1"], found["agreement"]) == (expected["top1"], expected["agreement"])
        assert found["divergence"] == expected["divergence"]
        assert found["correlation_difference"] == expected["correlation_difference"]
    assert "agreement" not in judge(students[0])


def test_a_pass_that_fails_is_not_remembered() -> None:
    judge, teacher = Evaluator(Split(), 5, make_accelerator(cpu=True)), Asked()

    def fails_later(images: Tensor) -> Tensor:
        if teacher.batches == 2:
            raise RuntimeError("no")
        return images.flatten(1)[:, :5]

    with pytest.raises(RuntimeError, match="no"):
        judge(fails_later, teacher=teacher)
    assert teacher.batches == 2
    judge(Asked(), teacher=teacher)
    assert teacher.batches == 5
