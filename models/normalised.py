"""A network that takes a view in its own units."""

from torch import Tensor, nn

from .outputs import Outputs

__all__ = ["Normalised"]


class Normalised(nn.Module):
    """A network behind the normalisation of its input, whose figures travel with the weights.

    Args:
        normalise: (B, C, H, W) to the same shape, its statistics as buffers.
        network: returns `Outputs` for what `normalise` gives.
    """

    def __init__(self, normalise: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network

    def forward(self, view: Tensor) -> Outputs:
        """The network's `Outputs` for a view in its own units, (B, C, H, W)."""
        return self.network(self.normalise(view))
