"""timm's networks behind `create`."""

import os
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..common import UserError
from .feature_extractor import Wrapper
from .outputs import Outputs
from .surgery import Ends
from .weights import LoadedWeights, is_file_name, open_file


def import_timm() -> ModuleType:
    """timm, or `ValueError` where it is not installed."""
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise UserError(
            "networks called timm/… come from the package timm, which is not installed: "
            "python -m pip install 'crdkit[timm]'"
        ) from error
    return timm


class TimmNetwork(Wrapper):
    """A timm network that returns `Outputs`: its feature maps, and as embedding what its classifier reads.

    Args:
        network: has `forward_intermediates` and one classifier; kept, not copied, as `self.network`.

    Raises:
        ValueError: in the forward, for images of a size that the network does not take.
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
        except AssertionError as error:  # how timm says it
            height, width = x.shape[2:]
            raise UserError(
                f"{type(network).__name__} does not take {height} × {width} pixels: {error}"
            ) from error
        finally:
            handle.remove()
        encoder = isinstance(classifier, nn.Identity)
        return Outputs(None if encoder else logits, tuple(maps), read[-1].flatten(1))

    def as_map(self, output: Tensor, layer: str, x: Tensor) -> Tensor:
        """A layer's output for the images x as a map (B, C, H, W): patch tokens (B, N, C) without those
        before them, channels first.

        Raises:
            ValueError: neither a map nor a token for each patch; it names the layer.
        """
        network: Any = self.network
        if output.ndim == 4:
            last = str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")
            return output.permute(0, 3, 1, 2).contiguous() if last else output
        grid = getattr(getattr(network, "patch_embed", None), "dynamic_feat_size", None)
        if output.ndim == 3 and grid is not None:
            height, width = grid(x.shape[2:])
            tokens = output[:, getattr(network, "num_prefix_tokens", 0) :]
            if tokens.shape[1] == height * width:
                return tokens.transpose(1, 2).reshape(len(x), -1, height, width)
        raise UserError(
            f"layer {layer!r} gives {tuple(output.shape)}: neither a map (B, C, H, W) nor a token for each "
            "patch"
        )


def build(
    name: str, num_classes: int | Literal["published"] | None, in_channels: int
) -> tuple[TimmNetwork, Ends]:
    """A network with random weights; a vision transformer takes images of any size that its patches fill."""
    chosen = {} if num_classes == "published" else {"num_classes": num_classes or 0}
    network = _create(name, in_chans=in_channels, **chosen)
    if not hasattr(network, "forward_intermediates") or isinstance(network.get_classifier(), tuple):
        raise UserError(
            f"timm/{name} has no feature maps in common with a single classifier; use "
            "crdkit.models.FeatureExtractor with layer names of your choice"
        )
    facts = network.pretrained_cfg
    stems = facts["first_conv"]
    head = facts["classifier"]
    return TimmNetwork(network), Ends((stems,) if isinstance(stems, str) else tuple(stems or ()), head, head)


def _create(name: str, **chosen: Any) -> Any:
    create_model, before = import_timm().create_model, torch.get_rng_state()
    try:
        return create_model(name, pretrained=False, dynamic_img_size=True, **chosen)
    except TypeError:  # a family that knows no such setting
        torch.set_rng_state(before)
        return create_model(name, pretrained=False, **chosen)


def has_classifier(name: str) -> bool:
    """Whether a network's published weights have a classifier; those of DINO have none."""
    facts = import_timm().models.get_pretrained_cfg(name)
    return facts is None or facts.num_classes > 0


def describe(name: str, weights: str) -> Any:
    """timm's facts (`PretrainedCfg`) of published weights, None if it has none of a network.

    Args:
        weights: "imagenet" for those of the name, or another tag of the network.

    Raises:
        ValueError: no such tag; those that there are are named.
    """
    models = import_timm().models
    bare = name.partition(".")[0]
    full = name if weights == "imagenet" else f"{bare}.{weights}"
    try:
        return models.get_pretrained_cfg(full)
    except RuntimeError:
        tags = ", ".join(known.partition(".")[2] for known in models.list_pretrained(f"{bare}.*"))
        raise UserError(
            f"no weights {weights!r} for timm/{name}: give imagenet, {tags} or a file's path"
        ) from None


def find_weights(name: str, weights: str | os.PathLike[str]) -> LoadedWeights:
    """Read what `weights` of `create` stands for."""
    if is_file_name(weights):
        return open_file(weights)
    facts = describe(name, os.fspath(weights))
    if facts is None or not facts.has_weights:
        raise UserError(f"timm has no published weights for timm/{name}: give a file's path")
    full = ".".join(filter(None, (name.partition(".")[0], facts.tag)))
    try:
        with torch.random.fork_rng(devices=[]):
            network = import_timm().create_model(full, pretrained=True)
    except Exception as error:  # the hub's own kinds of errors differ by its version
        place = f"https://huggingface.co/{facts.hf_hub_id}" if facts.hf_hub_id else facts.url
        raise ConnectionError(
            f"timm could not fetch its weights {full} ({type(error).__name__}). Without a network: download "
            f"them elsewhere ({place}) and give the file's path as weights"
        ) from error
    return LoadedWeights(network.state_dict(), os.fspath(weights), f"timm's {full}")
