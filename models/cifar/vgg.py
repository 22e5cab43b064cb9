"""VGG with batch norm for 32x32 images."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...common import UserError
from ..outputs import Outputs
from .parts import classify, initialize


class VGG(nn.Module):
    """VGG (Simonyan & Zisserman, 2015) with batch norm and one linear layer after the average.

    2x2 max pooling stands before the second, third and fourth block; from 64 rows on, also before the fifth.

    Args:
        layers: 3x3 layers in each of the five blocks of 64, 128, 256, 512 and 512 channels.
        num_classes: width of the logits.
        in_channels: channels of the input.

    Shapes:
        input (B, in_channels, H, W); maps at H, H/2, H/4, H/8 and H/8, the last one at H/16 where H >= 64;
        embedding (B, 512), the average of the last map. Each preactivation but the first block's, which
        counts as the stem, differs from its map by the missing ReLU alone.
    """

    def __init__(self, layers: Sequence[int], *, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__()
        if len(layers) != 5 or min(layers) < 1:
            raise UserError(f"layers must be five positive numbers, got {tuple(layers)}")
        self.block0 = _block(in_channels, 64, layers[0])
        self.block1 = _block(64, 128, layers[1])
        self.block2 = _block(128, 256, layers[2])
        self.block3 = _block(256, 512, layers[3])
        self.block4 = _block(512, 512, layers[4])
        self.classifier: nn.Linear | None = nn.Linear(512, num_classes)
        initialize(self)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Outputs:
        """Logits, the maps of the five blocks, and the average of the last one."""
        large = x.shape[2] >= 64
        x = F.relu(self.block0(x))
        maps, preactivations = [x], [x]
        for block in (self.block1, self.block2, self.block3, self.block4):
            before = block(F.max_pool2d(x, 2) if large or block is not self.block4 else x)
            x = F.relu(before)
            maps.append(x)
            preactivations.append(before)
        return classify(self.classifier, x.mean((2, 3)), tuple(maps), tuple(preactivations))


def _block(in_channels: int, width: int, layers: int) -> nn.Sequential:
    """Layers of 3x3 convolution, batch norm and ReLU, without the last ReLU."""
    parts: list[nn.Module] = []
    for i in range(layers):
        parts.append(nn.Conv2d(width if i else in_channels, width, 3, padding=1))
        parts.append(nn.BatchNorm2d(width))
        parts.append(nn.ReLU(inplace=True))
    return nn.Sequential(*parts[:-1])
