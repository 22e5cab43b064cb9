"""Nearest neighbors: what a representation is worth without training anything on it."""

import numpy as np
import torch
from torch import Tensor

from ..common import UserError
from .features import Features, check_pair


def knn_accuracy(train: Features, test: Features, *, neighbors: int = 20, temperature: float = 0.07) -> float:
    """Share of the test samples whose class their nearest training samples vote for, by scikit-learn.

    Nearness is cosine similarity s; each of the `neighbors` nearest votes for its class with weight
    e^{s / temperature} (Wu et al., 2018, Unsupervised feature learning via non-parametric instance
    discrimination).

    Args:
        train: the samples that vote, N of them.
        test: the samples that are judged.
        neighbors: how many vote, at most N.
        temperature: of the weights.

    Raises:
        ValueError: for an argument out of range, or sets that do not go together (see the message).
    """
    from sklearn.neighbors import KNeighborsClassifier

    check_pair(train, test)
    _check_neighbors(neighbors, len(train.label))
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")

    def votes(distance: np.ndarray) -> np.ndarray:
        # Relative to the nearest: the same order of votes, and none overflows.
        return np.exp((distance.min(1, keepdims=True) - distance) / temperature)

    voters = KNeighborsClassifier(neighbors, metric="cosine", algorithm="brute", weights=votes)
    voters.fit(train.vectors.numpy(), train.label.numpy())
    return float((voters.predict(test.vectors.numpy()) == test.label.numpy()).mean())


def nearest(queries: Tensor, bank: Tensor, *, neighbors: int = 5) -> Tensor:
    """Rows of `bank` by cosine similarity to each query, the nearest first, (B, neighbors) int64.

    Args:
        queries: (B, D), on the CPU.
        bank: (N, D), on the CPU.
        neighbors: at most N.
    """
    from sklearn.neighbors import NearestNeighbors

    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        raise ValueError(f"queries and bank must be (B, D) and (N, D), got {queries.shape}, {bank.shape}")
    _check_neighbors(neighbors, len(bank))
    index = NearestNeighbors(n_neighbors=neighbors, metric="cosine", algorithm="brute").fit(bank.numpy())
    return torch.from_numpy(index.kneighbors(queries.numpy(), return_distance=False))


def _check_neighbors(neighbors: int, rows: int) -> None:
    if not 1 <= neighbors <= rows:
        raise UserError(f"neighbors must be 1 … {rows}, the samples that there are, got {neighbors}")
