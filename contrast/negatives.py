"""Samplers of negatives: which bank entries a sample is contrasted with.

Draws are with replacement, so K may exceed M: entries then come up several times, K/M each on average, and
the loss keeps its K/M.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..common import UserError
from .checks import check_negatives, check_room, check_rows
from .config import ContrastConfig
from .memory import MemoryBank

_WITH_GROUPS = {"uniform": "other_group", "shared": "shared_other_group"}
REMEDY = "lower num_negatives or the batch, or take negatives='shared' or 'all'"


class Candidates(NamedTuple):
    """Candidates for the negatives of a batch, in the bank of either side."""

    num_negatives: int
    """Number K of negatives per sample in the loss."""
    weight: float = 1.0
    """Number of negative pairs that each candidate stands for."""
    rows: Tensor | None = None
    """Places in the bank of the candidates that all samples share, (N,); None for the whole bank."""
    columns: Tensor | None = None
    """Candidates of each sample, (B, K); None for all."""
    anchor_ids: Tensor | None = None
    """Sample, class or group of each anchor, (B,); a candidate with the same id is no negative."""
    candidate_ids: Tensor | None = None
    """Sample, class or group of each candidate, (N,); None for its place in the bank."""

    def vectors(self, bank: MemoryBank) -> Tensor:
        """Return the candidates' vectors, (N, d)."""
        return bank.rows if self.rows is None else bank.take(self.rows)

    def selection(self) -> dict[str, Tensor]:
        """Return `columns`, `anchor_ids` and `candidate_ids` of `scores.contrast`."""
        named = {name: getattr(self, name) for name in ("columns", "anchor_ids", "candidate_ids")}
        return {name: value for name, value in named.items() if value is not None}


def given_candidates(negative_index: Tensor, batch_size: int, num_samples: int) -> Candidates:
    """Return the negatives that a caller chose, (B, K) rows of the data set."""
    number = check_negatives(negative_index, batch_size, num_samples)
    return Candidates(number, columns=negative_index)


class SampleIds(nn.Module):
    """Id of each sample: its group (a recording, a scene), or its own row where there are no groups.

    Samples with the same id are no negatives of one another.

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
            values, ids = groups.unique(return_inverse=True)
            if len(values) < 2:
                raise UserError(
                    f"all {len(groups)} samples are of the group {values.tolist()}, so none has a "
                    "negative; give finer groups, or none"
                )
        # Not saved: they are the data set's. From 0 on, as the kernel reads a negative id as an empty place.
        self.register_buffer("ids", ids, persistent=False)

    def forward(self, index: Tensor) -> Tensor:
        """Return the ids of the samples in these rows, (B,) int64, not negative."""
        if self.ids is None:
            return index
        check_rows("index", index, len(self.ids))
        return self.ids.index_select(0, index)


class OtherClass(nn.Module):
    """Draws uniformly from the rows of other classes (Tian et al., 2020: y_i ≠ y_j), without rejection.

    Rows sorted by class lie in blocks; a draw from the M − n_c places outside the sample's own block is a
    draw from [0, M − n_c) that steps over the block. A group can take the place of the class.

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
            raise UserError(f"other_class needs at least two classes, got {sorted_labels.unique().tolist()}")
        # Not saved: they are the data set's, and a checkpoint must not bring another data set's along.
        self.register_buffer("labels", labels.long().clone(), persistent=False)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("sorted_labels", sorted_labels, persistent=False)

    def forward(self, index: Tensor, num_negatives: int, labels: Tensor | None = None) -> Tensor:
        """Return rows of other classes, (B, K).

        Args:
            index: the samples' rows, (B,).
            num_negatives: K.
            labels: the samples' classes, (B,); those given at construction where absent.
        """
        classes = self.labels[index] if labels is None else labels.long()
        start = torch.searchsorted(self.sorted_labels, classes).unsqueeze(1)
        stop = torch.searchsorted(self.sorted_labels, classes, right=True).unsqueeze(1)
        size = (len(index), num_negatives)
        check_room("negatives", *size, dtype=torch.int64, device=index.device, remedy=REMEDY)
        # 62 random bits modulo M − n_c: the bias is below M / 2^62.
        drawn = torch.randint(2**62, size, device=index.device).remainder_(len(self.order) - (stop - start))
        drawn.add_((drawn >= start) * (stop - start))
        return self.order.take(drawn)  # an index expression takes four times as long on a CPU


class Sampler(nn.Module):
    """Negatives from a bank, of the kind that the settings name.

    Args:
        num_samples: M.
        config: resolved settings. Kinds without a bank have ids only.
        labels: the class of every sample, (M,), for "other_class" and "shared_other_class".
        groups: the group of every sample, (M,).
    """

    def __init__(
        self, num_samples: int, config: ContrastConfig, *, labels: Tensor | None, groups: Tensor | None
    ) -> None:
        super().__init__()
        kind = str(config.negatives)
        _check_kind(kind, labels, groups, num_samples)
        self.kind, self.num_samples = kind, num_samples
        self.num_negatives = config.num_negatives or 0
        self.samples = SampleIds(groups, num_samples)
        self.others: OtherClass | None = None
        classes = self.samples.ids if kind.endswith("other_group") else labels
        if kind.endswith(("other_class", "other_group")) and classes is not None:
            self.others = OtherClass(classes)

    def ids(self, index: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the id of each sample, (B,): its class, its group or, if neither decides, its row."""
        if self.others is None:
            ids: Tensor = self.samples(index)
            return ids
        if labels is not None and self.kind.endswith("other_class"):
            return labels.long()
        return self.others.labels.index_select(0, index)

    def forward(self, index: Tensor, ids: Tensor, bank: MemoryBank) -> Candidates:
        """Return the candidates of a batch.

        Args:
            index: the samples' rows, (B,).
            ids: as returned by `ids`.
            bank: a bank, whose places the candidates are; that of the other side has the same.
        """
        number = self.num_negatives
        if self.kind == "uniform":
            return Candidates(number, columns=draw_uniform(index, number, self.num_samples))
        if self.kind.startswith("shared"):
            rows = draw_shared(number, bank.size, device=index.device)
            drawn = bank.samples(rows)
            if self.others is None:
                return Candidates(number, rows=rows, anchor_ids=index, candidate_ids=drawn)
            drawn = self.others.labels.index_select(0, drawn)
            return Candidates(number, rows=rows, anchor_ids=ids, candidate_ids=drawn)
        if self.others is not None:
            return Candidates(number, columns=self.others(index, number, ids))
        weight = number / (self.num_samples - 1)
        return Candidates(number, weight, anchor_ids=ids, candidate_ids=self.samples.ids)


def draw_uniform(index: Tensor, num_negatives: int, num_samples: int) -> Tensor:
    """Return rows uniform over all j ≠ i, (B, K).

    `randint` over M−1 places, then a step over the sample's own: exact, and for any M (`multinomial` ends at
    2^24 rows).

    Args:
        index: the samples' rows, (B,).
        num_negatives: K.
        num_samples: M, at least 2.
    """
    size = (len(index), num_negatives)
    check_room("negatives", *size, dtype=torch.int64, device=index.device, remedy=REMEDY)
    drawn = torch.randint(num_samples - 1, size, device=index.device)
    return drawn.add_(drawn >= index.unsqueeze(1))


def draw_shared(num_negatives: int, num_samples: int, *, device: torch.device | str | None = None) -> Tensor:
    """Return one draw for the whole batch, uniform over all rows, (K,). A sample masks its own row."""
    check_room(
        "shared negatives", num_negatives, dtype=torch.int64, device=device, remedy="lower num_negatives"
    )
    return torch.randint(num_samples, (num_negatives,), device=device)


def _check_kind(negatives: str, labels: Tensor | None, groups: Tensor | None, num_samples: int) -> None:
    """Raise for a kind of negatives without the labels or groups that it needs."""
    if labels is not None and len(labels) != num_samples:
        raise ValueError(f"labels must hold {num_samples} classes, one per sample, got {len(labels)}")
    if negatives.endswith("other_class") and labels is None:
        raise UserError(f"negatives={negatives!r} needs labels, the class of every sample")
    if negatives.endswith("other_group") and groups is None:
        raise UserError(f"negatives={negatives!r} needs groups, the recording or scene of every sample")
    if negatives in _WITH_GROUPS and groups is not None:
        raise UserError(
            f"negatives={negatives!r} would draw from a sample's own group, and groups are given: take "
            f"{_WITH_GROUPS[negatives]!r}, or give no groups"
        )


def _check_ids(name: str, ids: Tensor) -> None:
    if ids.dim() != 1 or ids.is_floating_point() or ids.is_complex():
        raise ValueError(f"{name} must be (M,) integers, got {ids.dtype} {tuple(ids.shape)}")
