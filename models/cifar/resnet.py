"""Residual networks of basic blocks for 32x32 images."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...common import UserError
from ..outputs import Outputs
from .parts import classify, conv, initialize, run_stages


class ResNet(nn.Module):
    """The CIFAR residual network (He et al., 2016, section 4.2), with 1x1 convolutions where widths change.

    Args:
        depth: 6n + 2 layers, n basic blocks in each of the three stages.
        widths: channels of the stem and of the stages.
        num_classes: width of the logits.
        in_channels: channels of the input.

    Shapes:
        input (B, in_channels, H, W); maps at H, H, H/2, H/4; embedding (B, widths[-1]), the average of the
        last map. Each preactivation but the stem's differs from its map by the missing ReLU alone.
    """

    def __init__(
        self,
        depth: int,
        widths: Sequence[int] = (16, 16, 32, 64),
        *,
        num_classes: int = 100,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise UserError(f"depth must be 6n + 2, at least 8, got {depth}")
        if len(widths) != 4:
            raise UserError(f"widths must be four, of the stem and three stages, got {tuple(widths)}")
        blocks = (depth - 2) // 6
        self.conv1 = conv(in_channels, widths[0], 3)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = _stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = _stage(widths[2], widths[3], blocks, stride=2)
        self.fc: nn.Linear | None = nn.Linear(widths[3], num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Outputs:
        """Logits, the maps of stem and stages, and the average of the last one."""
        stem = F.relu(self.bn1(self.conv1(x)))
        maps, preactivations = run_stages(stem, (self.layer1, self.layer2, self.layer3))
        return classify(self.fc, maps[-1].mean((2, 3)), maps, preactivations)


class _BasicBlock(nn.Module):
    """Two 3x3 layers around a shortcut; the ReLU of the sum is the caller's."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, width, 3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != width:
            self.downsample.extend([conv(in_channels, width, 1, stride=stride), nn.BatchNorm2d(width)])

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.bn2(self.conv2(y)) + self.downsample(x)


def _stage(in_channels: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _BasicBlock(in_channels, width, stride)
    return nn.Sequential(first, *(_BasicBlock(width, width, 1) for _ in range(1, blocks)))
