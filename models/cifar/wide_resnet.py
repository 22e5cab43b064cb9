"""Wide residual networks for 32x32 images."""

import torch.nn.functional as F
from torch import Tensor, nn

from ...common import UserError
from ..outputs import Outputs
from .parts import classify, conv, initialize


class WideResNet(nn.Module):
    """The wide residual network (Zagoruyko & Komodakis, 2016), without dropout.

    Normalization and ReLU stand before each convolution, so that a map is a sum of residuals, negative values
    included. Its preactivation is what the batch norm that reads the map first makes of it, as Heo et al.,
    2019, take it: the next stage's, and after the last stage the final one.

    Args:
        depth: 6n + 4 layers, n blocks in each of the three stages.
        width: factor on the stages' 16, 32 and 64 channels.
        num_classes: width of the logits.
        in_channels: channels of the input.

    Shapes:
        input (B, in_channels, H, W); maps at H, H, H/2, H/4; embedding (B, 64 · width), the average of the
        last preactivation after ReLU.
    """

    def __init__(self, depth: int, width: int = 1, *, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise UserError(f"depth must be 6n + 4, at least 10, got {depth}")
        if width < 1:
            raise UserError(f"width must be at least 1, got {width}")
        blocks = (depth - 4) // 6
        self.conv1 = conv(in_channels, 16, 3)
        self.block1 = _Stage(16, 16 * width, blocks, stride=1)
        self.block2 = _Stage(16 * width, 32 * width, blocks, stride=2)
        self.block3 = _Stage(32 * width, 64 * width, blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc: nn.Linear | None = nn.Linear(64 * width, num_classes)
        initialize(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Outputs:
        """Logits, the maps of stem and stages, and the average of the last one, normalized."""
        stem = self.conv1(x)
        first, _ = self.block1(stem)
        second, first_normalized = self.block2(first)
        third, second_normalized = self.block3(second)
        third_normalized = self.bn1(third)
        maps = (stem, first, second, third)
        preactivations = (stem, first_normalized, second_normalized, third_normalized)
        return classify(self.fc, F.relu(third_normalized).mean((2, 3)), maps, preactivations)


class _Stage(nn.Module):
    def __init__(self, in_channels: int, width: int, blocks: int, *, stride: int) -> None:
        super().__init__()
        first = _Block(in_channels, width, stride)
        self.layer = nn.ModuleList([first, *(_Block(width, width, 1) for _ in range(1, blocks))])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The stage's map, and its input as the first block normalizes it."""
        x, normalized = self.layer[0](x)
        for block in self.layer[1:]:
            x, _ = block(x)
        return x, normalized


class _Block(nn.Module):
    """Norm, ReLU and 3x3 convolution, twice, around a shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv(in_channels, width, 3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        # The name is that of the published checkpoints.
        self.convShortcut = None if in_channels == width else conv(in_channels, width, 1, stride=stride)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's sum, and its normalized input."""
        normalized = self.bn1(x)
        active = F.relu(normalized)
        # A shortcut that changes the width reads what the first convolution reads.
        shortcut = x if self.convShortcut is None else self.convShortcut(active)
        y = F.relu(self.bn2(self.conv1(active)), inplace=True)
        return shortcut + self.conv2(y), normalized
