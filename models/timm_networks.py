"""timm's networks behind `create`."""

from types import ModuleType
from typing import Any, Literal

from torch import Tensor, nn

from .feature_extractor import Wrapper
from .outputs import Outputs
from .surgery import Ends


def import_timm() -> ModuleType:
    """timm, or `ValueError` where it is not installed."""
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ValueError(
            "networks called timm/… come from the package timm, which is not installed: "
            "python -m pip install 'crdkit[timm]'"
        ) from error
    return timm


class TimmNetwork(Wrapper):
    """A timm network that returns `Outputs`: its feature maps, and as embedding what its classifier reads.

    Args:
        network: has `forward_intermediates` and one classifier; kept, not copied, as `self.network`.
    """

    def forward(self, x: Tensor) -> Outputs:
        """The stages' maps, the embedding behind timm's own pooling and head layers, and the logits."""
        network: Any = self.network
        classifier = network.get_classifier()
        read: list[Tensor] = []
        handle = classifier.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0]))
        try:
            features, maps = network.forward_intermediates(x)
            logits = network.forward_head(features)
        finally:
            handle.remove()
        encoder = isinstance(classifier, nn.Identity)
        return Outputs(None if encoder else logits, tuple(maps), read[-1].flatten(1))


def build(
    name: str, num_classes: int | Literal["published"] | None, in_channels: int
) -> tuple[TimmNetwork, Ends]:
    """A network with random weights."""
    chosen = {} if num_classes == "published" else {"num_classes": num_classes or 0}
    network = import_timm().create_model(name, pretrained=False, in_chans=in_channels, **chosen)
    if not hasattr(network, "forward_intermediates") or isinstance(network.get_classifier(), tuple):
        raise ValueError(
            f"timm/{name} has no feature maps in common with a single classifier; use "
            "crdkit.models.FeatureExtractor with layer names of your choice"
        )
    facts = network.pretrained_cfg
    stems = facts["first_conv"]
    head = facts["classifier"]
    return TimmNetwork(network), Ends((stems,) if isinstance(stems, str) else tuple(stems or ()), head, head)
