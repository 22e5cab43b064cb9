"""Any module as a network that returns `Outputs`, through its named layers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..common import UserError, nearest
from .outputs import Outputs

Seen = dict[str, tuple[Tensor, int]]
"""A layer's name to its last output and the output's version then, to notice changes in place."""


class Wrapper(nn.Module):
    """A module around another one that is saved and loaded under the names of that one.

    A `state_dict` with this module's own names, "network." before the others, loads as well.

    Args:
        network: the module; kept, not copied, as `self.network`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The inner module's."""
        return self.network.state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        names = [name for name in self.network.state_dict() if prefix + name in state_dict]
        state_dict.update({f"{prefix}network.{name}": state_dict.pop(prefix + name) for name in names})
        super()._load_from_state_dict(state_dict, prefix, *args)


class FeatureExtractor(Wrapper):
    """Any module as a network that returns `Outputs`, by the names of its layers.

        network = FeatureExtractor(my_cnn, maps=["stem", "stage1", "stage2"], embedding="pool", logits="head")

    A layer that runs several times in one forward is taken at its last run. The forward hooks live only as
    long as one forward call: nothing stays behind on the module, so copies, pickles and two extractors of one
    module do not see each other's maps.

    Args:
        network: any module that takes one tensor; kept, not copied. Names are those of `named_modules()`.
        maps: layers whose outputs (B, C, H, W) become the maps, stem first.
        embedding: a layer whose output is (B, D), or (B, D, H, W), which is averaged over positions; None
            averages the last map.
        logits: the layer whose output are the logits; "" is the module's own output, None for a module
            without logits.
        accept_overwritten: take maps that a later layer changes in place as that layer left them.

    Raises:
        ValueError: a name the module does not have (the nearest are listed), or in the forward an output of
            the wrong number of axes.
        RuntimeError: in the forward, if a layer did not run, or its output was overwritten in place.
    """

    def __init__(
        self,
        network: nn.Module,
        maps: Sequence[str],
        embedding: str | None = None,
        logits: str | None = "",
        *,
        accept_overwritten: bool = False,
    ) -> None:
        super().__init__(network)
        if isinstance(maps, str) or not maps:
            raise UserError(f"maps must be a list of at least one layer name, got {maps!r}")
        known = dict(network.named_modules())
        for name in (*maps, embedding, logits):
            if name is not None and name not in known:
                top = [k for k in known if k and k.count(".") <= 1]
                raise UserError(
                    f"no layer named {name!r}: {nearest(name, known)} The top ones: {', '.join(top[:60])}"
                )
        self.map_names = tuple(maps)
        self.embedding_name = embedding
        self.logits_name = logits
        self.accept_overwritten = accept_overwritten

    def forward(self, x: Tensor) -> Outputs:
        """Runs the module on x and returns `Outputs` of the named layers."""
        names = (*self.map_names, self.embedding_name, self.logits_name)
        with observing(self.network, [name for name in names if name is not None]) as seen:
            self.network(x)

        maps = tuple(self._get(seen, name) for name in self.map_names)
        for name, m in zip(self.map_names, maps, strict=True):
            if m.ndim != 4:
                raise UserError(f"a map must be (B, C, H, W); layer '{name}' gave {tuple(m.shape)}")
        embedding = maps[-1] if self.embedding_name is None else self._get(seen, self.embedding_name)
        if embedding.ndim == 4:
            embedding = embedding.mean((2, 3))
        if embedding.ndim != 2:
            raise UserError(
                f"an embedding must be (B, D) or (B, D, H, W); layer '{self.embedding_name}' gave "
                f"{tuple(embedding.shape)}"
            )
        logits = None if self.logits_name is None else self._get(seen, self.logits_name)
        return Outputs(logits, maps, embedding)

    def _get(self, seen: Seen, name: str) -> Tensor:
        return take(seen, name, self.network, accept_overwritten=self.accept_overwritten)


@contextmanager
def observing(network: nn.Module, names: Iterable[str]) -> Iterator[Seen]:
    """Inside, the layers' outputs are noted; afterwards no hook stays behind."""
    seen: Seen = {}
    handles = [_observe(network.get_submodule(name), name, seen) for name in dict.fromkeys(names)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def take(seen: Seen, name: str, network: nn.Module, *, accept_overwritten: bool = False) -> Tensor:
    """The last output of a layer that was observed; see `FeatureExtractor` for its `RuntimeError`."""
    layer = f"layer '{name}'" if name else "the module"
    if name not in seen:
        raise RuntimeError(f"{layer} of {type(network).__name__} gave no tensor in this forward")
    output, version = seen[name]
    if not accept_overwritten and _version(output) != version:
        raise RuntimeError(
            f"the output of {layer} was changed in place by a later layer (an activation with "
            "inplace=True?); name that later layer, or switch its inplace off"
        )
    return output


def _observe(layer: nn.Module, name: str, seen: Seen) -> RemovableHandle:
    def hook(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            seen[name] = (output, _version(output))

    return layer.register_forward_hook(hook)


def _version(tensor: Tensor) -> int:
    # Inference tensors count no versions, and a traced program has none to read.
    return 0 if tensor.is_inference() or torch.compiler.is_compiling() else tensor._version
