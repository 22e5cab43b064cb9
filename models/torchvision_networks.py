"""torchvision's classifiers behind `create`."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..common import UserError
from .checkpoints import split_entry
from .feature_extractor import FeatureExtractor
from .frozen import evaluating
from .surgery import Ends, find_ends
from .weights import LoadedWeights, is_file_name, open_file, read_weights

# Their training forward returns a tuple with auxiliary logits, which is no classifier's output.
_AUXILIARY = ("googlenet", "inception_v3")


def torchvision_models() -> Any:
    """Import `torchvision.models`; the import takes seconds."""
    from torchvision import models

    return models


def names() -> list[str]:
    """Every classifier that torchvision knows."""
    from torchvision import models

    return list(models.list_models(module=models))


def build(name: str, num_classes: int | None, in_channels: int) -> tuple[FeatureExtractor, Ends]:
    """A network with random weights, tapped at the last layer of each resolution."""
    if name in _AUXILIARY:
        raise UserError(f"{name} returns auxiliary logits in training and is no classifier here")
    from torchvision.models import get_model

    network = get_model(name, weights=None, num_classes=num_classes or 1)
    ends = find_ends(network)
    _set_in_channels(network, ends.stems[0], in_channels)
    stages = _stages(name, network, in_channels)
    if num_classes is None:
        setattr(network, ends.classifier, nn.Identity())
    logits = None if num_classes is None else ""
    return FeatureExtractor(network, stages, logits=logits, accept_overwritten=True), ends


def find_weights(name: str, weights: str | os.PathLike[str]) -> LoadedWeights:
    """Read what `weights` of `create` stands for."""
    from torchvision.models import get_model_weights

    sets: Any = get_model_weights(name)
    wanted = "IMAGENET1K_V1" if weights == "imagenet" else os.fspath(weights)
    if wanted in sets.__members__:
        loaded = LoadedWeights(_download(sets[wanted]), os.fspath(weights), f"torchvision's {name} {wanted}")
    elif not is_file_name(wanted):
        raise UserError(
            f"no weights {wanted!r} for {name}: give one of {', '.join(sets.__members__)} or a file's path"
        )
    else:
        loaded = open_file(wanted)
    if name.startswith("densenet"):  # published before module names could not hold a dot
        pattern = re.compile(r"\.(norm|relu|conv)\.([12])\.")
        state = {pattern.sub(r".\1\2.", key): tensor for key, tensor in loaded.state.items()}
        loaded = loaded._replace(state=state)
    return loaded


def describe(name: str, weights: str) -> Any:
    """torchvision's entry of published weights, by their name or their file's; None for other files."""
    from torchvision.models import get_model_weights

    sets: Any = get_model_weights(name)
    wanted = "IMAGENET1K_V1" if weights == "imagenet" else weights
    if wanted in sets.__members__:
        return sets[wanted]
    published = {entry.url.rsplit("/", 1)[-1]: entry for entry in sets}
    return published.get(split_entry(weights)[0].name)


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
        raise UserError(f"{target} is damaged: SHA-256 {actual[:16]}…, expected {expected[1]}…; delete it")
    return read_weights(target)


def _set_in_channels(network: nn.Module, stem: str, in_channels: int) -> None:
    """Gives the first convolution `in_channels`, drawn as wide as it was."""
    old = network.get_submodule(stem)
    assert isinstance(old, nn.Conv2d)
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
        nn.init.normal_(new.weight, std=float(old.weight.std()))
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    network.set_submodule(stem, new)


def _stages(name: str, network: nn.Module, in_channels: int) -> list[str]:
    """The last layer at each resolution, found by a forward pass on the meta device, without arithmetic."""
    trail: list[tuple[str, tuple[int, ...]]] = []

    def note(layer: str) -> Any:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                trail.append((layer, tuple(output.shape)))

        return hook

    handles = [part.register_forward_hook(note(layer)) for layer, part in _trunk(network)]
    shapes = {n: t.to("meta") for n, t in (*network.named_parameters(), *network.named_buffers())}
    try:
        with evaluating(network), torch.no_grad():
            functional_call(network, shapes, (torch.zeros(1, in_channels, 224, 224, device="meta"),))
    finally:
        for handle in handles:
            handle.remove()

    last_at: dict[int, str] = {}
    for layer, shape in trail:
        if len(shape) == 4 and shape[2] == shape[3]:
            last_at[shape[2]] = layer
    sizes = list(last_at)
    if len(sizes) < 3 or sizes != sorted(sizes, reverse=True):
        raise UserError(
            f"{name} gives no feature maps (B, C, H, W) of falling resolution; use "
            "crdkit.models.FeatureExtractor with layer names of your choice"
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
