"""Classifiers by name, as networks that return `Outputs`."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from torch import nn

from ..common import UserError
from . import timm_networks, torchvision_networks
from .alexnet import AlexNetSmall
from .catalog import unknown_network
from .chosen_layers import ChosenLayers
from .cifar import NETWORKS
from .depth_cnn import DepthCNN
from .feature_extractor import Wrapper
from .normalized import require_bare
from .surgery import Ends, find_ends, load_adapted
from .weights import LoadedWeights, is_file_name, open_file

DEPTH: Mapping[str, Callable[..., nn.Module]] = {
    "depth_cnn": DepthCNN,
    "depth_cnn_half": partial(DepthCNN, widths=(16, 32, 64, 128, 128)),
    "depth_cnn_x2": partial(DepthCNN, widths=(64, 128, 256, 512, 512)),
}
"""The five layers of the paper's depth student, half and twice as wide; encoders unless classes are asked
for."""

OWN: Mapping[str, Callable[..., nn.Module]] = {**NETWORKS, "alexnet_small": AlexNetSmall, **DEPTH}
"""The networks that are written here, by name; each takes `num_classes` and `in_channels`."""


def create(
    name: str,
    *,
    num_classes: int | Literal["published"] | None = "published",
    in_channels: int = 3,
    weights: str | os.PathLike[str] | LoadedWeights | None = None,
    new_head: bool | None = None,
    layers: Sequence[int | str] | None = None,
    bare: bool = False,
) -> nn.Module:
    """Builds a classifier that returns `Outputs`.

    Of torchvision's, the maps are the last output at each resolution, from the stem on, and the embedding is
    the average of the last map; of timm's, the maps are its own features (of a vision transformer the patch
    tokens after each block, for images of any size that its patches fill) and the embedding is what the
    classifier reads. Both hold the library's module as `.network`. The CIFAR networks say theirs in
    `crdkit.models.cifar`, and give preactivations, too. Whatever the library, the `state_dict` has its own
    names, so that files of `save_weights` fit the bare module as well.

    Args:
        name: of a CIFAR network ("resnet8x4", "wrn_40_2", "vgg8", "ShuffleV1", …); "alexnet_small";
            "depth_cnn"; or of `torchvision.models.list_models` ("resnet18", "vgg11_bn", …), with
            "torchvision/" before it if a CIFAR network has the same; or "timm/" and a name of
            `timm.list_models` (extra `timm`).
        num_classes: width of the logits; "published" is 100 for CIFAR networks, 1000 for torchvision's and
            timm's own for timm's. Weights of another number of classes, or of none: see `new_head`. None
            builds an encoder: no classifier, logits None. Take that under
            a decoder, as DDP stops at parameters that no loss reaches.
        in_channels: channels of the input. Where it differs from the weights', the first convolution is
            adapted: each input channel gets the sum of the old kernels over their channels, divided by
            `in_channels`. An image with all channels equal then answers as a gray image did before.
        weights: None for random ones; the path of a `.safetensors` or `torch.save` file with this network's
            weights, see `read_weights`; or of torchvision's and timm's, "imagenet" for the first published
            set, or a set's own name such as "IMAGENET1K_V2" and "a1_in1k" (downloaded once, into the
            library's cache); or what `open_weights` read. How their input is normalized:
            `find_preprocessing`.
        new_head: whether weights of other classes, or of none, are taken, their last layer drawn anew, to be
            trained, or refused. If absent those of a file are refused, and a published set is taken.
        layers: which maps it gives, see `ChosenLayers`; its own if absent.
        bare: take the weights of a file that tells how its input is normalized, too: the caller normalizes,
            by `saved_preprocessing`. Without it such a file is refused, as the network alone gives other
            answers; `crdkit.load` gives it whole.

    Raises:
        ValueError: for an unknown name (the nearest are suggested), a network without feature maps, weights
            that do not exist for it or do not fit it, or that are not `bare`, a timm network where timm is
            not installed.
        FileNotFoundError: where the weights file is not there.
        ConnectionError: where a download fails; the message says where to put the file by hand.
    """
    library, found = _find(name)
    if isinstance(num_classes, int) and num_classes < 1:
        raise UserError(f"num_classes must be at least 1, got {num_classes}")
    if in_channels < 1:
        raise UserError(f"in_channels must be at least 1, got {in_channels}")
    if weights is None:
        network = _build(library, found, num_classes, in_channels)[0]
    else:
        loaded = weights if isinstance(weights, LoadedWeights) else open_weights(name, weights)
        if not bare:
            require_bare(loaded.state, loaded.description, loaded.source)
        with torch.random.fork_rng(devices=[]):  # what is drawn here is overwritten by the file
            network, ends = _build(library, found, num_classes, in_channels)
        inner = network.network if isinstance(network, Wrapper) else network
        draws = not loaded.is_file if new_head is None else new_head
        load_adapted(inner, loaded.state, ends, source=loaded.source, new_head=draws)
    return network if layers is None else ChosenLayers(network, layers)


def open_weights(name: str, weights: str | os.PathLike[str]) -> LoadedWeights:
    """Read weights once, for `create` and `find_preprocessing`, which take the result in their place.

        loaded = open_weights("resnet18", "teacher.safetensors")
        network = create("resnet18", weights=loaded, bare=True)
        preprocessing = find_preprocessing("resnet18", loaded)

    Args:
        name, weights: as for `create`, whose errors it raises.
    """
    library, found = _find(name)
    if library == "torchvision":
        return torchvision_networks.find_weights(found, weights)
    if library == "timm":
        return timm_networks.find_weights(found, weights)
    if is_file_name(weights):
        return open_file(weights)
    raise UserError(f"no weights {weights!r} for {name}: give a file's path")


def has_classifier(name: str) -> bool:
    """Whether the published weights of a network have a classifier: those of timm's DINO have none."""
    library, bare = _find(name)
    return library != "timm" or timm_networks.has_classifier(bare)


def _build(
    library: str, name: str, num_classes: int | Literal["published"] | None, in_channels: int
) -> tuple[nn.Module, Ends]:
    """A network with random weights, and the names of its ends."""
    if library == "timm":
        return timm_networks.build(name, num_classes, in_channels)
    if library == "torchvision":
        classes = 1000 if num_classes == "published" else num_classes
        return torchvision_networks.build(name, classes, in_channels)
    if name in DEPTH:
        classes = None if num_classes == "published" else num_classes
        network = DEPTH[name](num_classes=classes, in_channels=in_channels)
        return network, Ends(("layers.0.0",), "classifier", "classifier")
    classes = 100 if num_classes == "published" else num_classes
    network = OWN[name](num_classes=classes or 1, in_channels=in_channels)
    ends = find_ends(network)
    if classes is None:
        setattr(network, ends.classifier, None)
    return network, ends


def _find(name: str) -> tuple[str, str]:
    """The library that a name means, and the name there."""
    library, _, bare = name.rpartition("/")
    if library == "" and name in OWN:
        return "cifar", name
    if library in ("", "torchvision") and bare in torchvision_networks.names():
        return "torchvision", bare
    if library == "timm" and timm_networks.import_timm().is_model(bare):
        return "timm", bare
    raise UserError(unknown_network(name))
