"""ShuffleNetV2 for 32x32 images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..outputs import Outputs
from .parts import classify, conv, run_stages, shuffle

STEM = 24
# Channels at size 1x, and blocks, of each stage (Ma et al., 2018, table 5).
STAGES = ((116, 4), (232, 8), (464, 4))
EMBEDDING = 1024


class ShuffleNetV2(nn.Module):
    """ShuffleNetV2 of size 1x (Ma et al., 2018), behind a 1x1 stem at stride 1 for small images.

    Args:
        num_classes: width of the logits.
        in_channels: channels of the input.

    Shapes:
        input (B, in_channels, H, W); maps of 24, 116, 232 and 464 channels at H, H/2, H/4, H/8; embedding
        (B, 1024), the average of a 1x1 layer with ReLU on the last map. Each preactivation but the stem's
        lacks the ReLU and the shuffle of its map: the half that its last block hands on comes first,
        already behind the ReLU of a block before.
    """

    def __init__(self, *, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, STEM, 1)
        self.bn1 = nn.BatchNorm2d(STEM)
        (first, _), (second, _), (third, _) = STAGES
        self.layer1 = _stage(STEM, *STAGES[0])
        self.layer2 = _stage(first, *STAGES[1])
        self.layer3 = _stage(second, *STAGES[2])
        self.conv2 = conv(third, EMBEDDING, 1)
        self.bn2 = nn.BatchNorm2d(EMBEDDING)
        self.linear: nn.Linear | None = nn.Linear(EMBEDDING, num_classes)

    def forward(self, x: Tensor) -> Outputs:
        """Logits, the maps of stem and stages, and the embedding."""
        stem = F.relu(self.bn1(self.conv1(x)))
        maps, preactivations = run_stages(stem, (self.layer1, self.layer2, self.layer3), _relu_shuffle)
        last = F.relu(self.bn2(self.conv2(maps[-1])), inplace=True)
        return classify(self.linear, last.mean((2, 3)), maps, preactivations)


class _DownBlock(nn.Module):
    """Two branches at stride 2, side by side; their last ReLU and the shuffle are the caller's."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.conv1 = conv(in_channels, in_channels, 3, stride=2, groups=in_channels)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv2 = conv(in_channels, half, 1)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv(in_channels, half, 1)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = conv(half, half, 3, stride=2, groups=half)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = conv(half, half, 1)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        left = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        right = self.bn4(self.conv4(F.relu(self.bn3(self.conv3(x)), inplace=True)))
        return torch.cat([left, self.bn5(self.conv5(right))], dim=1)


class _Block(nn.Module):
    """One half handed on, the other through three layers; last ReLU and shuffle are the caller's.

    The half that is handed on has no negative values, so that the caller's ReLU leaves it as it is.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = conv(half, half, 1)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = conv(half, half, 3, groups=half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv(half, half, 1)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        kept, y = x.chunk(2, dim=1)
        y = F.relu(self.bn1(self.conv1(y)), inplace=True)
        y = self.bn3(self.conv3(self.bn2(self.conv2(y))))
        return torch.cat([kept, y], dim=1)


def _relu_shuffle(x: Tensor) -> Tensor:
    return shuffle(F.relu(x), 2)


def _stage(in_channels: int, width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(_DownBlock(in_channels, width), *(_Block(width) for _ in range(1, blocks)))
