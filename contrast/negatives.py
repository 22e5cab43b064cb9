"""Which rows of the bank a sample is contrasted with. Draws are with replacement, so K may exceed M:
rows then come up several times, K/M each on average, and the loss keeps its K/M."""

import torch
from torch import Tensor, nn

from .checks import check_choice, check_room, check_rows

PUBLISHED_NEGATIVES = 16384
"""K of Tian et al., 2020. Of fewer samples than that, the loss left to itself takes its negatives from the
batch (docs/contrast.md, Small sets)."""
NEGATIVES = (
    "uniform",
    "other_class",
    "other_group",
    "shared",
    "shared_other_class",
    "shared_other_group",
    "all",
    "batch",
    "queue",
)
_WITH_GROUPS = {"uniform": "other_group", "shared": "shared_other_group"}
FEWER = "lower num_negatives or the batch, or take negatives='shared' or 'all'"


def check_kind(negatives: str, labels: Tensor | None, groups: Tensor | None, num_samples: int) -> None:
    """Raise a ValueError for an unknown kind of negatives, or without the labels or groups that it needs."""
    check_choice("negatives", negatives, NEGATIVES)
    if labels is not None and len(labels) != num_samples:
        raise ValueError(f"labels must hold {num_samples} classes, one per sample, got {len(labels)}")
    if negatives.endswith("other_class") and labels is None:
        raise ValueError(f"negatives={negatives!r} needs labels, the class of every sample")
    if negatives.endswith("other_group") and groups is None:
        raise ValueError(f"negatives={negatives!r} needs groups, the recording or scene of every sample")
    if negatives in _WITH_GROUPS and groups is not None:
        raise ValueError(
            f"negatives={negatives!r} would draw from a sample's own group, and groups are given: take "
            f"{_WITH_GROUPS[negatives]!r}, or give no groups"
        )


def draw_uniform(index: Tensor, num_negatives: int, num_samples: int) -> Tensor:
    """Rows uniform over all j ≠ i, (B, K).

    `randint` over M−1 places, then a step over the own one: exact, and for any M (`multinomial` ends at
    2^24 rows).

    Args:
        index: the samples' rows, (B,).
        num_negatives: K.
        num_samples: M, at least 2.
    """
    size = (len(index), num_negatives)
    check_room("negatives", *size, dtype=torch.int64, device=index.device, remedy=FEWER)
    drawn = torch.randint(num_samples - 1, size, device=index.device)
    return drawn.add_(drawn >= index.unsqueeze(1))


def draw_shared(num_negatives: int, num_samples: int, *, device: torch.device | str | None = None) -> Tensor:
    """One draw for the whole batch, uniform over all rows, (K,). A sample that meets its own row masks it."""
    check_room(
        "shared negatives", num_negatives, dtype=torch.int64, device=device, remedy="lower num_negatives"
    )
    return torch.randint(num_samples, (num_negatives,), device=device)


class Owners(nn.Module):
    """Who a sample belongs to: its group (a recording, a scene), or itself where there are no groups.

    Vectors of one owner are no negatives of one another.

    Args:
        groups: the group of every sample in the data set, (M,), any integers, at least two different ones.
        num_samples: M, if it is known.
    """

    ids: Tensor | None

    def __init__(self, groups: Tensor | None = None, num_samples: int | None = None) -> None:
        super().__init__()
        ids = None
        if groups is not None:
            _check_ids("groups", groups)
            if num_samples is not None and len(groups) != num_samples:
                raise ValueError(f"groups must hold {num_samples}, one per sample, got {len(groups)}")
            found, ids = groups.unique(return_inverse=True)
            if len(found) < 2:
                raise ValueError(
                    f"all {len(groups)} samples are of the group {found.tolist()}: none would have a "
                    "negative; give finer groups, or none"
                )
        # Not saved: they are the data set's. From 0 on, as the kernel takes a negative owner for no one.
        self.register_buffer("ids", ids, persistent=False)

    def forward(self, index: Tensor) -> Tensor:
        """The owners of the samples in these rows, (B,) int64, not negative."""
        if self.ids is None:
            return index
        check_rows("index", index, len(self.ids))
        return self.ids.index_select(0, index)


class OtherClass(nn.Module):
    """Draws uniformly from the rows of other classes (Tian et al., 2020: y_i ≠ y_j), without rejection.

    Rows sorted by class lie in blocks; a draw from the M − n_c places outside the sample's own block is a
    draw from [0, M − n_c) that steps over the block. A group can stand in the class's place.

    Args:
        labels: the class of every sample in the data set, (M,), any integers, at least two different ones.
    """

    labels: Tensor
    order: Tensor
    sorted_labels: Tensor

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        _check_ids("labels", labels)
        sorted_labels, order = labels.long().sort(stable=True)
        if len(labels) == 0 or sorted_labels[0] == sorted_labels[-1]:
            raise ValueError(f"other_class needs at least two classes, got {sorted_labels.unique().tolist()}")
        # Not saved: they are the data set's, and a checkpoint must not bring another data set's along.
        self.register_buffer("labels", labels.long().clone(), persistent=False)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("sorted_labels", sorted_labels, persistent=False)

    def forward(self, index: Tensor, num_negatives: int, labels: Tensor | None = None) -> Tensor:
        """Rows of other classes, (B, K).

        Args:
            index: the samples' rows, (B,).
            num_negatives: K.
            labels: the samples' classes, (B,); those given at construction where absent.
        """
        own = self.labels[index] if labels is None else labels.long()
        start = torch.searchsorted(self.sorted_labels, own).unsqueeze(1)
        stop = torch.searchsorted(self.sorted_labels, own, right=True).unsqueeze(1)
        size = (len(index), num_negatives)
        check_room("negatives", *size, dtype=torch.int64, device=index.device, remedy=FEWER)
        # 62 random bits modulo M − n_c: the bias is below M / 2^62.
        drawn = torch.randint(2**62, size, device=index.device).remainder_(len(self.order) - (stop - start))
        drawn.add_((drawn >= start) * (stop - start))
        return self.order.take(drawn)  # an index expression takes four times as long on a CPU


def _check_ids(name: str, ids: Tensor) -> None:
    if ids.dim() != 1 or ids.is_floating_point() or ids.is_complex():
        raise ValueError(f"{name} must be (M,) integers, got {ids.dtype} {tuple(ids.shape)}")
