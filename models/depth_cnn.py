"""The small network for depth images, the student of the RGB-to-depth transfer."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..common import UserError
from .cifar.parts import classify, conv_bn_relu, initialize
from .outputs import Outputs


class DepthCNN(nn.Module):
    """Five layers of convolution, batch norm and ReLU: the student of Tian et al., 2020, section 4.2.

    The paper gives the number of layers and no more; widths, strides and kernels are free here. With the
    default strides the last map has 1/8 of the input's height and width (rounded up), and enough positions
    left to segment from.

    Args:
        in_channels: channels of the input; 1 for depth.
        widths: output channels of each layer, from which the number of layers follows.
        strides: stride of each layer.
        kernel_size: odd size of every kernel, in pixels.
        num_classes: width of the logits, from a linear classifier of the embedding; None for an encoder.

    Shapes:
        input (B, in_channels, H, W); maps (B, widths[i], H_i, W_i); embedding (B, widths[-1]).
    """

    def __init__(
        self,
        in_channels: int = 1,
        *,
        widths: Sequence[int] = (32, 64, 128, 256, 256),
        strides: Sequence[int] = (2, 2, 2, 1, 1),
        kernel_size: int = 3,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        if in_channels < 1:
            raise UserError(f"in_channels must be at least 1, got {in_channels}")
        if not widths or any(width < 1 for width in widths):
            raise UserError(f"widths must be positive, at least one, got {tuple(widths)}")
        if len(strides) != len(widths) or any(stride < 1 for stride in strides):
            raise UserError(f"strides must be {len(widths)} positive numbers, got {tuple(strides)}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise UserError(f"kernel_size must be odd and positive, got {kernel_size}")
        sizes = [in_channels, *widths]
        self.layers = nn.ModuleList(
            conv_bn_relu(sizes[i], sizes[i + 1], kernel_size, stride=stride)
            for i, stride in enumerate(strides)
        )
        initialize(self)
        self.classifier = None if num_classes is None else nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Outputs:
        """Maps of all layers and the average of the last one."""
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return classify(self.classifier, x.mean((2, 3)), tuple(maps), ())
