"""MobileNetV2 for 32x32 images."""

from torch import Tensor, nn

from ...common import UserError
from ..outputs import Outputs
from .parts import classify, conv, conv_bn_relu, initialize

# Channels at width 1, blocks and stride of each of the seven groups (Sandler et al., 2018, table 2).
GROUPS = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
# The groups after which the resolution changes, or the network ends.
MAPS_AFTER = (1, 2, 4, 6)


class MobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al., 2018) with the second group at stride 1, for small images.

    Args:
        expansion: T, factor on the channels inside a block; the first group has 1.
        width: W, factor on the channels of stem and groups.
        num_classes: width of the logits.
        in_channels: channels of the input.

    Shapes:
        input (B, in_channels, H, W); maps at H/2, H/2, H/4, H/8, H/16; embedding (B, 1280), the average of
        a 1x1 layer with ReLU on the last map. Blocks end without a ReLU, so the maps are their own
        preactivations.
    """

    def __init__(
        self, expansion: int = 6, width: float = 0.5, *, num_classes: int = 100, in_channels: int = 3
    ) -> None:
        super().__init__()
        if expansion < 1:
            raise UserError(f"expansion must be at least 1, got {expansion}")
        if not 0.125 <= width <= 1:
            raise UserError(f"width must be 0.125 … 1, got {width}")
        channels = int(32 * width)
        self.conv1 = conv_bn_relu(in_channels, channels, 3, stride=2)
        self.blocks = nn.ModuleList()
        for number, (full, blocks, stride) in enumerate(GROUPS):
            group = nn.Sequential()
            for i in range(blocks):
                factor = expansion if number else 1
                group.append(_InvertedResidual(channels, int(full * width), factor, 1 if i else stride))
                channels = int(full * width)
            self.blocks.append(group)
        self.conv2 = conv_bn_relu(channels, 1280, 1)
        linear = nn.Linear(1280, num_classes)
        self.classifier: nn.Sequential | None = nn.Sequential(linear)
        initialize(self)
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Outputs:
        """Logits, the maps of the stem and at the end of each resolution, and the embedding."""
        x = self.conv1(x)
        maps = [x]
        for number, group in enumerate(self.blocks):
            x = group(x)
            if number in MAPS_AFTER:
                maps.append(x)
        return classify(self.classifier, self.conv2(x).mean((2, 3)), tuple(maps), tuple(maps))


class _InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise and linear 1x1 layer, around a shortcut where shapes allow one."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *conv_bn_relu(in_channels, inner, 1),
            *conv_bn_relu(inner, inner, 3, stride=stride, groups=inner),
            conv(inner, out_channels, 1),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)
