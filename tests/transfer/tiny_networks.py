"""Small teachers of different widths and modalities."""

import pytest
import torch
from torch import Tensor, nn

from crdkit.models import Outputs


class TinyNetwork(nn.Module):
    """Two convolutions of any width, with batch norm, whose embedding is the mean of the last map."""

    def __init__(self, width: int, num_classes: int = 4, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Outputs:
        first = self.norm(self.stem(x)).relu()
        second = self.body(first).relu()
        embedding = second.mean((2, 3))
        return Outputs(self.head(embedding), (first, second, second), embedding)


def settled(network: TinyNetwork) -> nn.Module:
    """With batch-norm statistics that are not those of a fresh layer, in eval mode."""
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(16, network.stem.in_channels, 8, 8))
    return network.eval()


@pytest.fixture
def networks() -> list[nn.Module]:
    """Three networks, the first and the last of one width."""
    return [settled(TinyNetwork(width)) for width in (4, 6, 4)]
