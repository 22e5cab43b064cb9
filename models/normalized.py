"""A network that takes a modality in its own units, and its figures among the weights of a file."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from ..common import UserError
from .description import Description
from .outputs import Outputs

_NORMALIZATION = re.compile(r"(.*\.)?normali[sz]e\.(mean|std)")
"""Where `Normalized` keeps its figures, wherever it stands, in files of earlier releases, too."""


class Normalized(nn.Module):
    """A network behind the normalization of its input, whose figures travel with the weights.

    Args:
        normalize: (B, C, H, W) to the same shape, its statistics as buffers.
        network: returns `Outputs` for what `normalize` gives.
    """

    def __init__(self, normalize: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.normalize = normalize
        self.network = network

    def forward(self, modality: Tensor) -> Outputs:
        """The network's `Outputs` for a modality in its own units, (B, C, H, W)."""
        return self.network(self.normalize(modality))


def bare_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's `state_dict` as if no `Normalized` stood in it: without its figures, under the names of what
    it holds."""
    state: dict[str, Tensor] = module.state_dict()
    for place, part in module.named_modules():
        if isinstance(part, Normalized):
            prefix = f"{place}." if place else ""
            inside, figures = f"{prefix}network.", f"{prefix}normalize."
            return {
                prefix + name.removeprefix(inside) if name.startswith(inside) else name: value
                for name, value in state.items()
                if not name.startswith(figures)
            }
    return state


def is_normalization(name: str) -> bool:
    """Whether a weight is a figure of a normalization that was saved with the network."""
    return _NORMALIZATION.fullmatch(name) is not None


def require_bare(state: Mapping[str, Tensor], described: Description | None, source: str) -> None:
    """Raise `ValueError` for weights that come with a normalization, in the state or in the description of
    the file: without it the network gives other answers."""
    if any(map(is_normalization, state)) or (described is not None and described.mean is not None):
        raise UserError(
            f"{source} holds its normalization, without which the network gives other answers: "
            "crdkit.load(path) loads both; create(…, bare=True) takes the weights alone"
        )


def without_normalization(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without the figures of a normalization that was saved with them."""
    return {name: x for name, x in state.items() if not is_normalization(name)}
