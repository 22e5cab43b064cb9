"""The losses of contrast/ from the papers' formulas, with Python loops over samples and pairs.

Everything is a double loop over Python floats; the ratio form of the critic stands as published.
"""

import math
from collections.abc import Sequence

from torch import Tensor


def score(a: Tensor, b: Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def nce(pairs: list[tuple[float, list[float]]], *, temperature: float, z: float, ratio: float) -> list[float]:
    """Tian et al., 2020, Eq. 18 and 19, per anchor; `pairs` are (positive score, negative scores)."""
    losses = []
    for positive, negatives in pairs:
        h = math.exp(positive / temperature) / z
        loss = -math.log(h / (h + ratio))
        for negative in negatives:
            h = math.exp(negative / temperature) / z
            loss -= math.log(1 - h / (h + ratio))
        losses.append(loss)
    return losses


def infonce(pairs: list[tuple[float, list[float]]], *, temperature: float) -> list[float]:
    losses = []
    for positive, negatives in pairs:
        numerator = math.exp(positive / temperature)
        denominator = numerator + sum(math.exp(s / temperature) for s in negatives)
        losses.append(-math.log(numerator / denominator))
    return losses


def relational(
    pairs: list[tuple[float, list[float]]],
    targets: list[tuple[float, list[float]]],
    *,
    temperature: float,
    teacher_temperature: float,
) -> float:
    """Cross-entropy of the teacher's and the student's softmax over the same pairs, averaged."""
    total = 0.0
    for (own, others), (own_t, others_t) in zip(pairs, targets, strict=True):
        student = [math.exp(s / temperature) for s in (own, *others)]
        teacher = [math.exp(s / teacher_temperature) for s in (own_t, *others_t)]
        for s, t in zip(student, teacher, strict=True):
            total -= t / sum(teacher) * math.log(s / sum(student))
    return total / len(pairs)


def direction(
    pairs: list[tuple[float, list[float]]],
    *,
    objective: str,
    temperature: float,
    num_samples: int,
    num_negatives: int,
) -> float:
    """The mean over the anchors; for NCE with Z = mean(e^{s/τ})·M over all pairs of this batch."""
    if objective == "infonce":
        losses = infonce(pairs, temperature=temperature)
    else:
        z = partition(pairs, temperature=temperature, num_samples=num_samples)
        losses = nce(pairs, temperature=temperature, z=z, ratio=num_negatives / num_samples)
    return sum(losses) / len(losses)


def partition(pairs: list[tuple[float, list[float]]], *, temperature: float, num_samples: int) -> float:
    values = [math.exp(s / temperature) for positive, negatives in pairs for s in (positive, *negatives)]
    return sum(values) / len(values) * num_samples


def bank_pairs(z: Tensor, bank: Tensor, index: Tensor, rows: Tensor) -> list[tuple[float, list[float]]]:
    """Anchor b against the rows[b] of a bank; the own row is the positive and never a negative."""
    pairs = []
    for b, i in enumerate(index.tolist()):
        negatives = [score(z[b], bank[j]) for j in rows[b].tolist() if j != i]
        pairs.append((score(z[b], bank[i]), negatives))
    return pairs


def batch_pairs(z: Tensor, other: Tensor, index: Tensor) -> list[tuple[float, list[float]]]:
    pairs = []
    for a in range(len(index)):
        negatives = [score(z[a], other[b]) for b in range(len(index)) if index[b] != index[a]]
        pairs.append((score(z[a], other[a]), negatives))
    return pairs


def local_global_pairs(
    z_map: Tensor, z_global: Tensor, index: Sequence[int], queue: Sequence[tuple[int, Tensor]] = ()
) -> list[tuple[float, list[float]]]:
    """Every position against the other images' global vectors: of the batch, then of the queue."""
    pairs = []
    for a in range(z_map.shape[0]):
        for h in range(z_map.shape[2]):
            for w in range(z_map.shape[3]):
                anchor = z_map[a, :, h, w]
                negatives = [score(anchor, z_global[b]) for b in range(len(index)) if index[b] != index[a]]
                negatives += [score(anchor, vector) for image, vector in queue if image != index[a]]
                pairs.append((score(anchor, z_global[a]), negatives))
    return pairs


def dense_pairs(
    z_map: Tensor,
    other: Tensor,
    index: Sequence[int] | Tensor,
    queue: Sequence[tuple[int, Tensor]] = (),
    *,
    noise: Sequence[tuple[int, int]] | None = None,
) -> list[tuple[float, list[float]]]:
    """Every position against positions of other images: those of the batch at the places `noise` (all where
    None), then those of the queue."""
    pairs = []
    batch, _, height, width = z_map.shape
    places = [(h, w) for h in range(height) for w in range(width)]
    for a in range(batch):
        for h, w in places:
            anchor = z_map[a, :, h, w]
            negatives = [
                score(anchor, other[b, :, k, m])
                for b in range(batch)
                for k, m in (places if noise is None else noise)
                if index[b] != index[a]
            ]
            negatives += [score(anchor, vector) for image, vector in queue if image != int(index[a])]
            pairs.append((score(anchor, other[a, :, h, w]), negatives))
    return pairs
