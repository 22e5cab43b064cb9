"""What every network of the toolkit returns."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Outputs"]


class Outputs(NamedTuple):
    """The outputs of a network, from which every transfer objective takes what it reads.

    Attributes:
        logits: class scores, (B, C) of a classifier, (B, C, H, W) of a segmenter, None of a pure encoder.
        maps: feature maps from the stem to the last stage, each (B, C_i, H_i, W_i).
        embedding: one vector for each image, (B, D); the average of the last map unless the network says
            otherwise.
        preactivations: what activation-boundary distillation reads: the stages' maps before their last ReLU,
            one for each map and as large; the stem's is its map as it is. Empty where a network gives none.
    """

    logits: Tensor | None
    maps: tuple[Tensor, ...]
    embedding: Tensor
    preactivations: tuple[Tensor, ...] = ()
