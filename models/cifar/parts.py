"""What the families of CIFAR networks have in common."""

from collections.abc import Callable, Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from ..outputs import Outputs


def conv(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution without bias that keeps height and width at stride 1."""
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
    )


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """`conv`, batch norm and ReLU."""
    return nn.Sequential(
        conv(in_channels, out_channels, kernel_size, stride=stride, groups=groups),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def initialize(network: nn.Module) -> None:
    """Draws kernels from N(0, 2 / (k² · out_channels)), biases zero (He et al., 2015, backward form)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def run_stages(
    stem: Tensor, stages: Iterable[nn.Sequential], activation: Callable[[Tensor], Tensor] = F.relu
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The maps and the preactivations of stages whose blocks leave their last activation to the caller.

    Args:
        stem: the stem's map (B, C, H, W), the first of both results.
        stages: of blocks (B, C, H, W) -> (B, C', H', W').
        activation: what follows each block.
    """
    x = stem
    maps, preactivations = [stem], [stem]
    for stage in stages:
        for block in stage:
            before = block(x)
            x = activation(before)
        maps.append(x)
        preactivations.append(before)
    return tuple(maps), tuple(preactivations)


def classify(
    classifier: nn.Module | None,
    embedding: Tensor,
    maps: tuple[Tensor, ...],
    preactivations: tuple[Tensor, ...],
) -> Outputs:
    """`Outputs` with the classifier's logits of the embedding; None for an encoder, which has none."""
    logits = None if classifier is None else classifier(embedding)
    return Outputs(logits, maps, embedding, preactivations)


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleaves the channels of the groups: channel g·n + i, n in each group, becomes i·groups + g.

    Args:
        x: (B, groups · n, H, W).
        groups: 1 changes nothing.
    """
    return x if groups == 1 else x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
