"""The residual network of 50 layers for 32x32 images."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..outputs import Outputs
from .parts import classify, conv, initialize, run_stages

EXPANSION = 4


class ResNet50(nn.Module):
    """ResNet-50 (He et al., 2016) with a 3x3 stem at stride 1 and without its max pooling.

    Args:
        num_classes: width of the logits.
        in_channels: channels of the input.

    Shapes:
        input (B, in_channels, H, W); maps of 64, 256, 512, 1024 and 2048 channels at H, H, H/2, H/4, H/8;
        embedding (B, 2048), the average of the last map. Each preactivation but the stem's differs from its
        map by the missing ReLU alone.
    """

    def __init__(self, *, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, 64, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, 3, stride=1)
        self.layer2 = _stage(256, 128, 4, stride=2)
        self.layer3 = _stage(512, 256, 6, stride=2)
        self.layer4 = _stage(1024, 512, 3, stride=2)
        self.linear: nn.Linear | None = nn.Linear(2048, num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Outputs:
        """Logits, the maps of stem and stages, and the average of the last one."""
        stem = F.relu(self.bn1(self.conv1(x)))
        maps, preactivations = run_stages(stem, (self.layer1, self.layer2, self.layer3, self.layer4))
        return classify(self.linear, maps[-1].mean((2, 3)), maps, preactivations)


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 layers around a shortcut; the ReLU of the sum is the caller's."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = conv(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut.extend(
                [conv(in_channels, out_channels, 1, stride=stride), nn.BatchNorm2d(out_channels)]
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return self.bn3(self.conv3(y)) + self.shortcut(x)


def _stage(in_channels: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _Bottleneck(in_channels, width, stride)
    return nn.Sequential(first, *(_Bottleneck(EXPANSION * width, width, 1) for _ in range(1, blocks)))
