"""Small members of different widths."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest
import torch
from torch import Tensor, nn

from crdkit.distillers import Pair
from crdkit.models import Outputs, measure

PairsOf: TypeAlias = Callable[[nn.Module, Sequence[nn.Module]], list[Pair]]


class TinyNetwork(nn.Module):
    """Two convolutions of any width, with batch norm, whose embedding is the mean of the last map."""

    def __init__(self, width: int, num_classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Outputs:
        first = self.norm(self.stem(x)).relu()
        second = self.body(first).relu()
        embedding = second.mean((2, 3))
        return Outputs(self.head(embedding), (first, second, second), embedding)


def settled(network: nn.Module) -> nn.Module:
    """With batch-norm statistics that are not those of a fresh layer, in eval mode."""
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(16, 3, 8, 8))
    return network.eval()


@pytest.fixture
def members() -> list[nn.Module]:
    """Three networks, the first and the last of one width."""
    return [settled(TinyNetwork(width)) for width in (4, 6, 4)]


@pytest.fixture
def student() -> nn.Module:
    return TinyNetwork(3)


@pytest.fixture
def pairs_of() -> PairsOf:
    """student, teachers -> a `Pair` for each teacher, over 40 samples of 4 classes."""

    def pairs(student: nn.Module, teachers: Sequence[nn.Module]) -> list[Pair]:
        labels = torch.arange(40) % 4
        sizes = [measure(network, (3, 8, 8)) for network in (student, *teachers)]
        return [Pair(sizes[0], size, len(labels), labels=labels) for size in sizes[1:]]

    return pairs
