"""Nearest neighbors: what a representation is worth without training anything on it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import Features, check_pair


@torch.no_grad()
def knn_accuracy(
    train: Features,
    test: Features,
    *,
    neighbors: int = 20,
    temperature: float = 0.07,
    device: torch.device | str | None = None,
    block: int = 4096,
) -> float:
    """Share of the test samples whose class their nearest training samples vote for.

    Nearness is cosine similarity s; each of the `neighbors` nearest votes for its class with weight
    e^{s / temperature} (Wu et al., 2018, Unsupervised feature learning via non-parametric instance
    discrimination).

    Args:
        train: the samples that vote, N of them.
        test: the samples that are judged.
        neighbors: how many vote, at most N.
        temperature: of the weights.
        device: where similarities are computed; None for the vectors' own.
        block: samples of either side compared at a time, so that memory holds block² similarities.

    Raises:
        ValueError: for an argument out of range, or sets that do not go together (see the message).
    """
    num_classes = check_pair(train, test)
    if not 1 <= neighbors <= len(train.label):
        raise ValueError(f"neighbors must be 1 … {len(train.label)}, the training samples, got {neighbors}")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    bank, label = F.normalize(train.vectors.to(device), dim=1), train.label.to(device)
    right = 0
    for queries, truth in zip(test.vectors.split(block), test.label.split(block), strict=True):
        similarity, classes = _nearest(
            F.normalize(queries.to(device), dim=1), bank, label, neighbors=neighbors, block=block
        )
        # Relative to the nearest: the same order of votes, and none overflows.
        weight = ((similarity - similarity.amax(1, keepdim=True)) / temperature).exp()
        votes = weight.new_zeros(len(queries), num_classes).scatter_add_(1, classes, weight)
        right += int((votes.argmax(1).cpu() == truth).sum())
    return right / len(test.label)


@torch.no_grad()
def nearest(queries: Tensor, bank: Tensor, *, neighbors: int = 5, block: int = 4096) -> Tensor:
    """Rows of `bank` by cosine similarity to each query, the nearest first, (B, neighbors) int64.

    Args:
        queries: (B, D).
        bank: (N, D).
        neighbors: at most N.
        block: rows of the bank compared at a time.
    """
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        raise ValueError(f"queries and bank must be (B, D) and (N, D), got {queries.shape}, {bank.shape}")
    if not 1 <= neighbors <= len(bank):
        raise ValueError(f"neighbors must be 1 … {len(bank)}, the rows of the bank, got {neighbors}")
    rows = torch.arange(len(bank), device=bank.device)
    _, found = _nearest(
        F.normalize(queries, dim=1), F.normalize(bank, dim=1), rows, neighbors=neighbors, block=block
    )
    return found


def _nearest(
    queries: Tensor, bank: Tensor, label: Tensor, *, neighbors: int, block: int
) -> tuple[Tensor, Tensor]:
    """Similarities (B, neighbors) and classes of the nearest rows, the best of every block kept."""
    best = queries.new_empty(len(queries), 0)
    classes = label.new_empty(len(queries), 0)
    for rows, row_classes in zip(bank.split(block), label.split(block), strict=True):
        candidates = torch.cat([best, queries @ rows.T], dim=1)
        known = torch.cat([classes, row_classes.expand(len(queries), -1)], dim=1)
        best, place = candidates.topk(min(neighbors, candidates.shape[1]), dim=1)
        classes = known.gather(1, place)
    return best, classes
