"""An AlexNet for small images."""

import torch.nn.functional as F
from torch import Tensor, nn

from .cifar.parts import classify, conv, initialize
from .outputs import Outputs

WIDTHS = (64, 192, 384, 256, 256)


class AlexNetSmall(nn.Module):
    """The five convolutions of AlexNet (Krizhevsky et al., 2012) for images of 32 to 128 pixels.

    Batch norm after each, as in its use for self-supervised learning (Zhang et al., Split-Brain
    Autoencoders, 2017); the first kernel is 5 wide with a stride of 2 instead of 11 with 4, and the average
    of the last map takes the place of the large linear layers.

    Args:
        num_classes: width of the logits.
        in_channels: channels of the input.

    Shapes:
        input (B, in_channels, H, W); maps at H/2, H/4, H/8, H/8 and H/8 of 64, 192, 384, 256 and 256
        channels; embedding (B, 256), the average of the last map. Each preactivation differs from its map by
        the missing ReLU alone, but for the first, the stem.
    """

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        sizes = (in_channels, *WIDTHS)
        self.layers = nn.ModuleList(
            nn.Sequential(
                conv(sizes[i], sizes[i + 1], 5 if i < 2 else 3, stride=2 if i == 0 else 1),
                nn.BatchNorm2d(sizes[i + 1]),
            )
            for i in range(5)
        )
        self.classifier: nn.Linear | None = nn.Linear(WIDTHS[-1], num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Outputs:
        """Logits, the maps of the five layers, and the average of the last one."""
        maps, preactivations = [], []
        for i, layer in enumerate(self.layers):
            # Pooled between the first three, as in AlexNet.
            before = layer(F.max_pool2d(x, 3, 2, 1) if i in (1, 2) else x)
            x = F.relu(before)
            maps.append(x)
            preactivations.append(before if i else x)
        return classify(self.classifier, x.mean((2, 3)), tuple(maps), tuple(preactivations))
