"""The judge of a run: a teacher is asked once, as long as it stays what it was."""

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
        found = judge(student, teacher=teacher)
        assert teacher.batches == asked and teacher.training
        count, expected = teacher.batches, evaluate_classifier(
            student, split, 5, teacher=teacher, modality="rgb"
        )  # fmt: skip
        teacher.batches = count
        assert found.keys() == expected.keys()
        for name in ("top1", "agreement", "divergence", "correlation_difference"):
            assert found[name] == expected[name], name  # type: ignore[literal-required]
    assert "agreement" not in judge(students[0])


def test_a_pass_that_fails_is_not_remembered() -> None:
    judge, teacher = Evaluator(Split(), 5, make_accelerator(cpu=True)), Asked()

    def fails(images: Tensor) -> Tensor:
        raise RuntimeError("no")

    for network in (fails, Asked()):
        try:
            judge(network, teacher=teacher)
        except RuntimeError:
            continue
        assert teacher.batches == 3
