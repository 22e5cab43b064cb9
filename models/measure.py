"""Dimensions and classifier of a network, measured in a dry forward pass instead of guessed."""

from typing import NamedTuple

import torch
from torch import nn

from ..common import UserError
from .feature_extractor import observing
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
    outputs = _dry_forward(network, input_size)
    return Dimensions(
        maps=tuple((m.shape[1], m.shape[2], m.shape[3]) for m in outputs.maps),
        embedding=outputs.embedding.shape[1],
        logits=None if outputs.logits is None else tuple(outputs.logits.shape[1:]),
        preactivations=len(outputs.preactivations),
    )


def classifier_of(network: nn.Module, input_size: tuple[int, int, int]) -> nn.Linear | None:
    """Return the linear layer whose output is a network's logits, whatever layers are registered around it.

    It is found in one dry forward of zeros, as by `measure`, whose arguments and errors it has.

    Returns:
        None for a network without logits, and for one whose logits are computed by anything else: a
        convolution, the average of two heads, a linear layer whose output is scaled.
    """
    linear = {name: part for name, part in network.named_modules() if isinstance(part, nn.Linear)}
    with observing(network, linear) as seen:
        logits = _dry_forward(network, input_size).logits
    if logits is None or logits.ndim != 2:
        return None
    for name, (output, version) in seen.items():
        # `seen` keeps every output alive, so that no other tensor can have its memory.
        same = output.data_ptr() == logits.data_ptr() and output.numel() == logits.numel()
        if same and output._version == version:
            return linear[name]
    return None


def _dry_forward(network: nn.Module, input_size: tuple[int, int, int]) -> Outputs:
    """The outputs of two images of zeros; training flags and random generators are left as they were."""
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
    return outputs
