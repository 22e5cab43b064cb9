"""Chosen layers of a network as its maps."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..common import UserError, nearest
from .feature_extractor import Seen, Wrapper, observing, take
from .names import CHOSEN
from .outputs import Outputs
from .timm_networks import TimmNetwork


class ChosenLayers(Wrapper):
    """A network whose maps are the outputs of some of its layers: what dense terms read of a teacher.

    Args:
        network: returns `Outputs`; kept, not copied.
        layers: numbers of its maps, -1 for the last, or names of layers of `named_modules()`, of the
            library's own module if the network wraps one. Patch tokens (B, N, C) of timm's vision
            transformers become maps (B, C, H, W).

    Shapes:
        as the network's; logits and embedding are its own, and the preactivations if all layers are numbers.

    Raises:
        ValueError: no layer, a name that the network does not have, or in the forward a number that it does
            not have, an output that is no map, or one that a later layer changes in place.
    """

    def __init__(self, network: nn.Module, layers: Sequence[int | str]) -> None:
        super().__init__(network)
        if isinstance(layers, str) or not layers:
            raise UserError(f"layers must be a list of at least one number or name, got {layers!r}")
        known = dict(self._inner.named_modules())
        for layer in layers:
            if isinstance(layer, str) and layer not in known:
                raise UserError(f"no layer named {layer!r}: {nearest(layer, known)}")
        self.layers = tuple(layers)

    def extra_repr(self) -> str:
        """The layers, by which two networks of one architecture may differ."""
        return f"layers={list(self.layers)}"

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's, and a mark of the layers: caches and finished stages know a network by its state."""
        state = super().state_dict(*args, **kwargs)
        mark = hashlib.sha256(repr(self.layers).encode()).digest()[:8]
        state[f"{kwargs.get('prefix', '')}{CHOSEN}"] = torch.tensor(list(mark), dtype=torch.uint8)
        return state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(prefix + CHOSEN, None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def _inner(self) -> nn.Module:
        """The library's own module."""
        inner = self.network
        while isinstance(inner, Wrapper):
            inner = inner.network
        return inner

    def forward(self, x: Tensor) -> Outputs:
        """The network's outputs with the chosen layers as maps."""
        names = [layer for layer in self.layers if isinstance(layer, str)]
        with observing(self._inner, names) as seen:
            outputs: Outputs = self.network(x)
        maps = tuple(
            self._map(seen, layer, x) if isinstance(layer, str) else _at(outputs.maps, layer)
            for layer in self.layers
        )
        before = outputs.preactivations
        if before:
            before = (
                () if names else tuple(_at(before, layer) for layer in self.layers if isinstance(layer, int))
            )
        return Outputs(outputs.logits, maps, outputs.embedding, before)

    def _map(self, seen: Seen, layer: str, x: Tensor) -> Tensor:
        try:
            output = take(seen, layer, self._inner)
        except RuntimeError as error:  # a setting is wrong, not the program
            raise UserError(str(error)) from error
        if isinstance(self.network, TimmNetwork):
            return self.network.as_map(output, layer, x)
        if output.ndim != 4:
            raise UserError(f"layer {layer!r} gives {tuple(output.shape)}, no map (B, C, H, W)")
        return output


def _at(maps: Sequence[Tensor], number: int) -> Tensor:
    if not -len(maps) <= number < len(maps):
        raise UserError(f"layer {number} is none of the network's {len(maps)} maps, 0 … {len(maps) - 1}")
    return maps[number]
