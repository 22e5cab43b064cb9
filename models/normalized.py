"""A network that takes a modality in its own units."""

from torch import Tensor, nn

from .outputs import Outputs


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
