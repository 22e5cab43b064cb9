"""Pairs of images of a batch mixed into one: MixUp and CutMix, alike for every modality."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...common import UserError
from ..batch import Batch, DataError
from ..holes import averages
from ..reading import upload

KINDS = ("mixup", "cutmix")


class Mixed(NamedTuple):
    """A batch of mixed images."""

    batch: Batch
    """With the names, shapes and types of the one given. A mixed image is no sample of the data set: `index`
    is the row of what makes the larger part. Labels are those of the first image, but for label maps of
    CutMix, which are pasted as their images are."""
    other_label: Tensor | None
    """The labels of what was mixed in, as `label`; None if there are none, or if they were pasted."""
    share: float
    """λ, of the first image and of its label."""


class Mix(nn.Module):
    """Mixes every image of a batch with another of the same batch, by one draw for all modalities.

    With λ ~ Beta(α, α), drawn once for the batch: MixUp is λ·x + (1 − λ)·x' (Zhang et al., mixup: Beyond
    Empirical Risk Minimization, 2018); CutMix pastes a box of x' of the area 1 − λ into x at a uniform place,
    and λ becomes the share of the pixels that x keeps (Yun et al., CutMix, 2019).

    x' is the next in a random cycle through the batch, not a random permutation's: no image is mixed with
    itself, and of three or more no two with each other, which at λ near ½ would make one image twice, the
    false negative of a contrast. An image that is alone in its batch stays as it is. A box is cut on the grid
    of the coarsest modality or label map and has the same place in all; `share` counts that grid's pixels.

    All draws are from torch's global CPU generator; a GPU gets the partners in one pinned copy that nobody
    waits for. Acts in training and evaluation mode alike: call it in the training step only.

    Args:
        kind: "mixup" or "cutmix".
        alpha: α, positive; 1, λ uniform, is CutMix's published value and MixUp's for CIFAR, which has 0.2 for
            ImageNet.

    Raises:
        ValueError: another kind, or an α that is not positive.
    """

    def __init__(self, kind: str, alpha: float = 1.0) -> None:
        super().__init__()
        if kind not in KINDS:
            raise UserError(f"mix must be one of {', '.join(KINDS)}, got {kind!r}")
        if not (math.isfinite(alpha) and alpha > 0):
            raise UserError(f"alpha must be positive, got {alpha}")
        self.kind, self.alpha = kind, alpha

    @torch.no_grad()
    def forward(self, batch: Batch) -> Mixed:
        """The batch mixed; the one given is left as it is.

        Raises:
            DataError: MixUp of a modality that cannot be averaged.
        """
        drawn = torch.tensor(self.alpha, dtype=torch.float64)
        share = float(torch.distributions.Beta(drawn, drawn, validate_args=False).sample())
        partner = upload(_next_in_a_cycle(len(batch["index"])), batch["index"].device)
        images = {name: value for name, value in batch.items() if value.ndim == 4}
        label, other = batch.get("label"), None
        if self.kind == "cutmix":
            maps = {} if label is None or label.ndim != 3 else {"label": label}
            mixed, share = _paste(images | maps, partner, share)
        else:
            mixed = {name: _blend(name, value, partner, share) for name, value in images.items()}
        if label is not None and "label" not in mixed:
            other = label.index_select(0, partner)
        index = batch["index"] if share >= 0.5 else batch["index"].index_select(0, partner)
        return Mixed({**batch, **mixed, "index": index}, other, share)

    def extra_repr(self) -> str:
        return f"{self.kind!r}, alpha={self.alpha:g}"


def _next_in_a_cycle(batch_size: int) -> Tensor:
    """For each image of a batch the place of another, along one random cycle through all, (B,)."""
    order = torch.randperm(batch_size)
    return torch.empty_like(order).index_copy_(0, order, order.roll(1))


def _blend(name: str, values: Tensor, partner: Tensor, share: float) -> Tensor:
    if not averages(name):
        raise DataError(
            f"mixup would average {name!r} with its holes, which are no readings: "
            "--transfer.mix cutmix pastes both"
        )
    return torch.lerp(values.index_select(0, partner), values, share)


def _paste(batch: Batch, partner: Tensor, share: float) -> tuple[Batch, float]:
    """Everything with a box of its partner's, and the share of the pixels outside of the box."""
    height = min(value.shape[-2] for value in batch.values())
    width = min(value.shape[-1] for value in batch.values())
    (top, bottom), (left, right) = (_side(length, share) for length in (height, width))
    pasted: Batch = {}
    for name, value in batch.items():
        rows, columns = value.shape[-2:]
        box = (
            slice(round(top * rows / height), round(bottom * rows / height)),
            slice(round(left * columns / width), round(right * columns / width)),
        )
        pasted[name] = value.clone()
        pasted[name][..., *box] = value[..., *box].index_select(0, partner)
    return pasted, 1 - (bottom - top) * (right - left) / (height * width)


def _side(length: int, share: float) -> tuple[int, int]:
    """Where a box begins and ends along an axis: √(1 − λ) of its length about a uniform place, cut off at the
    ends."""
    half, middle = int(length * math.sqrt(1 - share)) // 2, int(torch.randint(length, ()))
    return max(0, middle - half), min(length, middle + half)
