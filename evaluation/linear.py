"""Linear probes over the folds of a training set."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..common import UserError
from .batches import on_main
from .features import Features
from .probe import ProbeResult, probe_logistic, probe_sgd

PROBES = ("logistic", "sgd")


class FoldedProbe(NamedTuple):
    """Probes of several training folds on one test set."""

    top1: float
    """Mean accuracy over the folds, a fraction of 1; of the one probe where there are none."""
    std: float | None
    """Sample standard deviation over the folds; None for one."""
    folds: tuple[ProbeResult, ...]


def probe_features(
    train: Features,
    test: Features,
    *,
    fit: str = "logistic",
    folds: Sequence[Tensor] = (),
    device: torch.device | str | None = None,
    **settings: Any,
) -> FoldedProbe:
    """Fit linear probes to the features of a frozen network, on the main rank; every rank gets the result.

    Args:
        train, test: features of one layer, see `extract`.
        fit: `logistic` (`probe_logistic`) or `sgd` (`probe_sgd`, on `device`).
        folds: rows of the training set, one probe for each, as STL-10 prescribes; none for all rows at once.
        device: of `sgd`.
        settings: of the probe.

    Raises:
        ValueError: for an unknown `fit`, a fold out of range, and as the probes do.
    """
    if fit not in PROBES:
        raise UserError(f"fit must be {' or '.join(PROBES)}, got {fit!r}")
    for number, rows in enumerate(folds):
        if len(rows) == 0 or int(rows.min()) < 0 or int(rows.max()) >= len(train.label):
            raise UserError(f"fold {number} has rows outside of 0 … {len(train.label) - 1}, or none")
    parts = [Features(train.vectors[rows], train.label[rows]) for rows in folds] or [train]

    def fitted() -> tuple[ProbeResult, ...]:
        if fit == "sgd":
            return tuple(probe_sgd(part, test, device=device, **settings) for part in parts)
        return tuple(probe_logistic(part, test, **settings) for part in parts)

    results = on_main(fitted)
    accuracies = [result.top1 for result in results]
    std = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    return FoldedProbe(statistics.fmean(accuracies), std, results)
