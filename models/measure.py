"""The dimensions of a network, asked of the network instead of guessed."""

from typing import NamedTuple

import torch
from torch import nn

from ..common import UserError
from .frozen import evaluating
from .outputs import Outputs


class Dimensions(NamedTuple):
    """What a network gives for one input size, without the batch axis.

    Attributes:
        maps: (C_i, H_i, W_i) of each feature map, stem first.
        embedding: D of the embedding.
        logits: (C,) or (C, H, W), None if the network has no logits.
        preactivations: how many it gives: one for each map, or none.
    """

    maps: tuple[tuple[int, int, int], ...]
    embedding: int
    logits: tuple[int, ...] | None
    preactivations: int = 0


def measure(network: nn.Module, input_size: tuple[int, int, int]) -> Dimensions:
    """Measures a network's outputs with one dry forward of zeros.

    Runs in eval mode without gradients on the device of the network's parameters, then puts every part's
    training flag back: batch-norm statistics and random generators are as before.

    Args:
        network: returns `Outputs` for an input (B, C, H, W).
        input_size: (C, H, W).

    Raises:
        ValueError: when `input_size` is not three positive integers.
        TypeError: when the network returns something other than `Outputs`.
    """
    if len(input_size) != 3 or any(size < 1 for size in input_size):
        raise UserError(f"input_size must be (channels, height, width), all positive, got {input_size}")
    like = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
    devices = [like.device] if like.is_cuda else []
    with evaluating(network), torch.random.fork_rng(devices=devices), torch.no_grad():
        # Two images: layers that normalize over the batch refuse a single one.
        outputs = network(torch.zeros(2, *input_size, device=like.device, dtype=like.dtype))
    if not isinstance(outputs, Outputs):
        raise TypeError(
            f"{type(network).__name__} returned {type(outputs).__name__}, not Outputs; wrap it with "
            "crdkit.models.FeatureExtractor"
        )
    return Dimensions(
        maps=tuple((m.shape[1], m.shape[2], m.shape[3]) for m in outputs.maps),
        embedding=outputs.embedding.shape[1],
        logits=None if outputs.logits is None else tuple(outputs.logits.shape[1:]),
        preactivations=len(outputs.preactivations),
    )
