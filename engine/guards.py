"""What must not happen to a training: values that are not finite, a teacher that changes."""

import torch
from torch import Tensor, nn

from ..models import freeze
from .errors import FrozenError
from .peers import digests_of

NEVER = 2**62


class FiniteGuard:
    """Remembers, on the device, the first batch of which a term was NaN or infinite.

    Reading the answer at every step would make a GPU wait; `watch` does not wait.

    Args:
        names: the terms.
        device: where the terms are.
    """

    def __init__(self, names: list[str], device: torch.device) -> None:
        self.names = names
        self.batch = torch.full((), NEVER, dtype=torch.int64, device=device)
        self.finite = torch.ones(len(names), dtype=torch.bool, device=device)

    @torch.no_grad()
    def watch(self, terms: dict[str, Tensor], batch: int) -> None:
        """Look at the terms of a batch, numbered from the start of the training."""
        finite = torch.stack([terms[name] for name in self.names]).isfinite()
        first = (self.batch == NEVER) & ~finite.all()
        self.batch = torch.where(first, batch, self.batch)
        self.finite = torch.where(first, finite, self.finite)

    def found(self) -> tuple[int, list[str]] | None:
        """The first batch with a term that is not finite, and those terms; None where all are finite."""
        batch = int(self.batch.item())
        if batch == NEVER:
            return None
        return batch, [name for name, ok in zip(self.names, self.finite.tolist(), strict=True) if not ok]


def nonfinite_samples(batch: dict[str, Tensor]) -> list[str]:
    """The samples of a batch with NaN or infinity in an input, such as "sample 17 (depth)"."""
    index = batch.get("index")
    found = []
    for name, values in batch.items():
        if values.is_floating_point() and values.ndim > 0:
            for row in (~values.isfinite()).reshape(len(values), -1).any(1).nonzero().flatten().tolist():
                number = f"row {row} of the batch" if index is None else f"sample {int(index[row])}"
                found.append(f"{number} ({name})")
    return found


class FrozenGuard:
    """Freezes networks, and proves afterwards that none of their bits changed.

    Args:
        networks: put into eval mode and onto the device, without gradients.
    """

    def __init__(self, networks: tuple[nn.Module, ...], device: torch.device) -> None:
        self.networks = networks
        for network in networks:
            freeze(network).to(device)
        self.hold()
        self.digests = self._digests()

    def hold(self) -> None:
        """Put the networks back into eval mode, whoever changed it."""
        for network in self.networks:
            network.eval()

    def verify(self) -> None:
        """Raise `FrozenError` naming the first tensor that is not what it was."""
        for name, found in self._digests().items():
            if self.digests.get(name) != found:
                raise FrozenError(f"the frozen network changed during training: {name}")

    def _digests(self) -> dict[str, str]:
        return {
            name: value
            for number, network in enumerate(self.networks)
            for name, value in digests_of(network, f"frozen[{number}]").items()
        }
