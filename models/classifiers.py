"""torchvision's classifiers as networks that return `Outputs`."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .adapters import Tapped
from .checkpoint import load_state, read_weights

__all__ = ["create"]

# Their training forward returns a tuple with auxiliary logits, which is no classifier's output.
_AUXILIARY = ("googlenet", "inception_v3")


def create(
    name: str,
    *,
    num_classes: int | None = 1000,
    in_channels: int = 3,
    weights: str | os.PathLike[str] | None = None,
) -> Tapped:
    """Builds a torchvision classifier that returns `Outputs`.

    The maps are the last output at each resolution, from the stem on; the embedding is the average of the
    last map; the logits are the network's own. The torchvision module is `.network` of the result.

    Args:
        name: a name of `torchvision.models.list_models`, such as "resnet18", "mobilenet_v2", "vgg11_bn".
        num_classes: width of the logits. Given weights of another number of classes, or of none, the last
            layer is drawn anew and the rest kept. None builds an encoder: no classifier, logits None. Take
            that under a decoder, as DDP stops at parameters that no loss reaches.
        in_channels: channels of the input. Where it differs from the weights', the first convolution is
            adapted: each input channel gets the sum of the old kernels over their channels, divided by
            `in_channels`. An image with all channels equal then answers as a grey image did before.
        weights: None for random ones; "imagenet" for torchvision's first published set, or a set's own name
            such as "IMAGENET1K_V2" (downloaded once, into torch's cache); or the path of a `.safetensors`
            or `torch.save` file with this network's weights.

    Raises:
        ValueError: for an unknown name (the nearest are suggested), a network without feature maps, weights
            that do not exist for it or do not fit it.
        FileNotFoundError: where the weights file is not there.
        ConnectionError: where a download fails; the message says where to put the file by hand.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise ValueError(f"no network named {name!r}: {hint}")
    if name in _AUXILIARY:
        raise ValueError(
            f"{name} returns auxiliary logits in training and cannot be used as a classifier here"
        )
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if in_channels < 1:
        raise ValueError(f"in_channels must be at least 1, got {in_channels}")

    if weights is None:
        network = models.get_model(name, weights=None, num_classes=num_classes or 1)
        _set_in_channels(network, in_channels, keep=False)
    else:
        state, source = _find_weights(name, weights)
        network = _load(name, state, source)
        _set_in_channels(network, in_channels, keep=True)
        _set_num_classes(network, num_classes or 1)
    stages = _stages(name, network, in_channels)
    if num_classes is None:
        setattr(network, _classifier(network), nn.Identity())
    return Tapped(network, stages, logits=None if num_classes is None else "", accept_overwritten=True)


def _find_weights(name: str, weights: str | os.PathLike[str]) -> tuple[dict[str, Tensor], str]:
    """The named tensors that `weights` of `create` stands for, and their origin for messages."""
    from torchvision.models import get_model_weights

    sets = get_model_weights(name)
    wanted = "IMAGENET1K_V1" if weights == "imagenet" else os.fspath(weights)
    if wanted in sets.__members__:
        return _download(sets[wanted]), f"torchvision's {name} {wanted}"
    if weights == "imagenet" or not (Path(wanted).suffix or os.sep in wanted):
        raise ValueError(
            f"no weights {wanted!r} for {name}: give one of {', '.join(sets.__members__)} or a file's path"
        )
    return read_weights(wanted), wanted


def _download(entry: Any) -> dict[str, Tensor]:
    """torchvision's own download, or its cached file; read without running code."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    target = folder / entry.url.rsplit("/", 1)[-1]
    if not target.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return entry.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"could not fetch {entry.url} ({error}). Without a network: download it elsewhere, put it at "
                f"{target} and run again, or give the file's path as weights"
            ) from error
    expected = re.search(r"-([0-9a-f]{8,})\.", target.name)
    actual = hashlib.sha256(target.read_bytes()).hexdigest()
    if expected and not actual.startswith(expected[1]):
        raise ValueError(
            f"{target} is damaged: SHA-256 {actual[:16]}…, expected {expected[1]}…; delete the file"
        )
    return read_weights(target)


def _load(name: str, state: dict[str, Tensor], source: str) -> nn.Module:
    """The network in the shape its weights were saved in, with them loaded."""
    from torchvision.models import get_model

    if all(key.startswith("network.") for key in state):  # saved from what `create` returned
        state = {key.removeprefix("network."): tensor for key, tensor in state.items()}
    if name.startswith("densenet"):  # published before module names could not hold a dot
        state = {re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", key): t for key, t in state.items()}
    with torch.random.fork_rng(devices=[]):  # what is drawn here is overwritten by the file
        network = get_model(name, weights=None)
        if not any(key.startswith(f"{_classifier(network)}.") for key in state):  # an encoder's file
            own = network.state_dict()
            state = {**{key: own[key] for key in own if key.startswith(f"{_classifier(network)}.")}, **state}
        head = state.get(f"{_head(network)[0]}.weight")
        if head is not None:
            _set_num_classes(network, head.shape[0])
        stem = state.get(f"{_stem(network)[0]}.weight")
        if stem is not None and stem.ndim == 4:
            _set_in_channels(network, stem.shape[1], keep=False)
    load_state(network, state, source=source)
    return network


def _classifier(network: nn.Module) -> str:
    """Name of the part that makes logits of features."""
    return _head(network)[0].split(".")[0]


def _stem(network: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))


def _head(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    layers = [(n, layer) for n, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return layers[-1]


def _set_in_channels(network: nn.Module, in_channels: int, *, keep: bool) -> None:
    """Gives the first convolution `in_channels`, with its weights adapted (`keep`) or drawn anew."""
    name, old = _stem(network)
    if old.in_channels == in_channels:
        return
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        if keep:
            new.weight.copy_((old.weight.sum(1, keepdim=True) / in_channels).expand_as(new.weight))
        else:
            nn.init.normal_(new.weight, std=float(old.weight.std()))
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    network.set_submodule(name, new)


def _set_num_classes(network: nn.Module, num_classes: int) -> None:
    """Gives the last layer `num_classes` outputs, drawn anew where that changes their number."""
    name, old = _head(network)
    if old.weight.shape[0] == num_classes:
        return
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
    else:
        new = nn.Conv2d(old.in_channels, num_classes, 1, bias=old.bias is not None)
    network.set_submodule(name, new)


def _stages(name: str, network: nn.Module, in_channels: int) -> list[str]:
    """The last layer at each resolution, found by a forward on the meta device (shapes, no arithmetic)."""
    trail: list[tuple[str, tuple[int, ...]]] = []

    def note(layer: str) -> Any:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                trail.append((layer, tuple(output.shape)))

        return hook

    handles = [part.register_forward_hook(note(layer)) for layer, part in _trunk(network)]
    shapes = {key: t.to("meta") for key, t in (*network.named_parameters(), *network.named_buffers())}
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            x = torch.empty(1, in_channels, 224, 224, device="meta")
            torch.func.functional_call(network, shapes, (x,))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()

    last_at: dict[int, str] = {}
    for layer, shape in trail:
        if len(shape) == 4 and shape[2] == shape[3]:
            last_at[shape[2]] = layer
    sizes = list(last_at)
    if len(sizes) < 3 or sizes != sorted(sizes, reverse=True):
        raise ValueError(
            f"{name} gives no feature maps (B, C, H, W) of falling resolution; use crdkit.models.tap with "
            "layer names of your choice"
        )
    return list(last_at.values())


def _trunk(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Candidate layers: the children, and theirs where one is a container; not the pooling and the head."""
    for name, part in network.named_children():
        if name in ("avgpool", "classifier", "fc", "head", "heads"):
            continue
        yield name, part
        if isinstance(part, nn.Sequential | nn.ModuleList):
            for inner, layer in part.named_children():
                yield f"{name}.{inner}", layer
