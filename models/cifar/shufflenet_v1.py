"""ShuffleNet for 32x32 images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..outputs import Outputs
from .parts import classify, conv, run_stages, shuffle

STEM = 24
# Channels for three groups, and blocks, of each stage (Zhang et al., 2018, table 1).
STAGES = ((240, 4), (480, 8), (960, 4))
GROUPS = 3


class ShuffleNetV1(nn.Module):
    """ShuffleNet with three groups (Zhang et al., 2018), behind a 1x1 stem at stride 1 for small images.

    Args:
        num_classes: width of the logits.
        in_channels: channels of the input.

    Shapes:
        input (B, in_channels, H, W); maps of 24, 240, 480 and 960 channels at H, H/2, H/4, H/8; embedding
        (B, 960), the average of the last map. Each preactivation but the stem's differs from its map by the
        missing ReLU alone.
    """

    def __init__(self, *, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, STEM, 1)
        self.bn1 = nn.BatchNorm2d(STEM)
        (first, _), (second, _), (third, _) = STAGES
        self.layer1 = _stage(STEM, *STAGES[0])
        self.layer2 = _stage(first, *STAGES[1])
        self.layer3 = _stage(second, *STAGES[2])
        self.linear: nn.Linear | None = nn.Linear(third, num_classes)

    def forward(self, x: Tensor) -> Outputs:
        """Logits, the maps of stem and stages, and the average of the last one."""
        stem = F.relu(self.bn1(self.conv1(x)))
        maps, preactivations = run_stages(stem, (self.layer1, self.layer2, self.layer3))
        return classify(self.linear, maps[-1].mean((2, 3)), maps, preactivations)


class _Block(nn.Module):
    """Grouped 1x1, shuffle, 3x3 depthwise and grouped 1x1; the ReLU of the result is the caller's.

    At stride 1 the input is added to `out_channels` new channels, at stride 2 its average stands after them.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        inner = out_channels // 4
        # The stem has too few channels for groups.
        self.groups = 1 if in_channels == STEM else GROUPS
        self.stride = stride
        self.conv1 = conv(in_channels, inner, 1, groups=self.groups)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, inner, 3, stride=stride, groups=inner)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv(inner, out_channels, 1, groups=GROUPS)
        self.bn3 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = shuffle(F.relu(self.bn1(self.conv1(x)), inplace=True), self.groups)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        if self.stride == 1:
            return y + x
        return torch.cat([y, F.avg_pool2d(x, 3, stride=2, padding=1)], dim=1)


def _stage(in_channels: int, width: int, blocks: int) -> nn.Sequential:
    first = _Block(in_channels, width - in_channels, stride=2)
    return nn.Sequential(first, *(_Block(width, width, stride=1) for _ in range(1, blocks)))
