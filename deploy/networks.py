"""A network to its description and back."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..common import UserError
from ..data import Normalize, Statistics
from ..models import (
    ChannelProjection,
    Classifier,
    Description,
    Normalized,
    ReusedClassifier,
    Segmenter,
    attach_classifier,
    create,
    measure,
)


def describe(
    network: nn.Module,
    *,
    architecture: str | None,
    modality: str,
    shape: tuple[int, int, int],
    class_names: tuple[str, ...] = (),
    **reading: Any,
) -> Description:
    """What a network is, for its file.

    Args:
        network: returns `Outputs` for the modality in its own units.
        architecture: the name that `crdkit.models.create` made its encoder by; None for one's own.
        modality: what it sees.
        shape: (C, H, W) of an input.
        class_names: of its logits; "0", "1", … for those that are missing.
        reading: how files become inputs: `resize`, `made_of` and `encoding` of `Description`.
    """
    logits = measure(network, shape).logits
    names = tuple(class_names) if logits is not None else ()
    if logits is not None and len(names) != logits[0]:
        names = tuple(map(str, range(logits[0])))
    mean = std = None
    for part in network.modules() if architecture is not None else ():
        if isinstance(part, Normalized):
            figures: Any = part.normalize
            mean, std = (tuple(t.flatten().tolist()) for t in (figures.mean, figures.std))
            break
    return Description(
        architecture, modality, shape[0], shape[1:], mean, std, names, _describe_head(network), **reading
    )


def build(description: Description, network: nn.Module | None = None) -> nn.Module:
    """The described network with random weights, in eval mode.

    Args:
        network: the encoder, if it is one of one's own; takes the modality in its units.

    Raises:
        ValueError: it is one's own and not given, or a name that `create` does not know.
    """
    own, kind, classes = network is not None, description.head.get("kind"), len(description.class_names)
    if kind not in (None, *_HEADS):
        raise UserError(f"a head of the kind {kind!r} is not known to this release of crdkit")
    if network is None:
        if description.architecture is None:
            raise UserError(
                "the weights are of a network of one's own: give it, crdkit.load(path, network=MyNetwork())"
            )
        plain = kind in (None, "simkd") and classes
        with torch.random.fork_rng(devices=[]):
            network = create(
                description.architecture,
                num_classes=classes if plain else None,
                in_channels=description.channels,
            )
    if kind is not None:
        network = _HEADS[kind](network, description)
    if description.mean is not None and description.std is not None:
        name = description.modality
        statistics = Statistics(mean={name: description.mean}, std={name: description.std})
        network = Normalized(Normalize(statistics, name), network)
    if own and kind is None:  # its memory format is its own affair, and decides the last bits
        return network.eval()
    return network.to(memory_format=torch.channels_last).eval()


def bare(network: nn.Module) -> nn.Module:
    """A built network without its normalization: the one whose weights a file holds."""
    return network.network if isinstance(network, Normalized) else network


def _describe_head(network: nn.Module) -> dict[str, Any]:
    inner = bare(network)
    if isinstance(inner, Segmenter):
        hidden = inner.head.hidden
        width = None if isinstance(hidden, nn.Identity) else inner.head.classifier.in_channels
        return {"kind": "segmentation", "hidden": width, "levels": inner.levels}
    if isinstance(inner, Classifier):
        return {"kind": "linear"}
    if isinstance(inner, ReusedClassifier):
        channels = dict(zip(("from", "inner", "to"), inner.projector.channels, strict=True))
        return {"kind": "simkd", **channels, "size": list(inner.projector.size)}
    return {}


def _segmenter(encoder: nn.Module, description: Description) -> nn.Module:
    head = description.head
    with torch.random.fork_rng(devices=[]):
        return Segmenter(
            encoder,
            len(description.class_names),
            input_size=(description.channels, *description.size),
            hidden=head["hidden"],
            levels=head["levels"],
        )


def _classified(encoder: nn.Module, description: Description) -> nn.Module:
    shape = (description.channels, *description.size)
    return attach_classifier(encoder, len(description.class_names), shape, seed=0)


def _reused(encoder: nn.Module, description: Description) -> nn.Module:
    head, (height, width) = description.head, description.head["size"]
    with torch.random.fork_rng(devices=[]):
        projector = ChannelProjection(head["from"], head["to"], hidden=head["inner"], size=(height, width))
        return ReusedClassifier(encoder, projector, nn.Linear(head["to"], len(description.class_names)))


_HEADS: Mapping[str, Callable[[nn.Module, Description], nn.Module]] = {
    "segmentation": _segmenter,
    "linear": _classified,
    "simkd": _reused,
}
"""What may stand on an architecture, by its kind."""


class NamedOutputs(nn.Module):
    """A network whose outputs are a dictionary of tensors: `logits`, if it has some, and `embedding`.

    It is what other programs get: an exported graph holds no class of this package.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) to `logits`, (B, classes) or (B, classes, H, W), and `embedding`, (B, D)."""
        outputs = self.network(images)
        named = {} if outputs.logits is None else {"logits": outputs.logits.float()}
        return {**named, "embedding": outputs.embedding.float()}
