"""How far a classifier's confidence is from its accuracy, and how far classifiers are from each other."""

import torch
from torch import Tensor


def calibration_error(probabilities: Tensor, label: Tensor, *, bins: int = 15) -> float:
    """Expected calibration error of the predicted class, in [0, 1].

    Samples are sorted into `bins` of equal width by the probability of the predicted class; the error is the
    mean over the samples of |accuracy − mean probability| of their bin. Guo et al., On Calibration of Modern
    Neural Networks, 2017, Eq. 5; 15 bins as there.

    Args:
        probabilities: (M, C), each row with sum 1.
        label: (M,).
        bins: their number.

    Raises:
        ValueError: for other shapes, no sample, or values that are no probabilities.
    """
    if probabilities.ndim != 2 or label.shape != probabilities.shape[:1] or len(label) == 0:
        raise ValueError(
            f"probabilities must be (M, C) and label (M,), got {tuple(probabilities.shape)} and "
            f"{tuple(label.shape)}"
        )
    p = probabilities.detach().cpu().double()
    if not bool(((p >= 0) & (p <= 1 + 1e-6)).all()):
        raise ValueError("probabilities must be in [0, 1]; give softmax(logits), not logits")
    confidence, predicted = p.max(1)
    correct = (predicted == label.cpu()).double()
    # Bins are open below and closed above, as published; a probability of 0 falls into the first.
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, correct - confidence)
    return float(gap.abs().sum() / len(label))


def disagreement(logits: Tensor) -> Tensor:
    """Share of the samples where two classifiers name different classes, (N, N) float64, 0 on the diagonal.

    Args:
        logits: of N classifiers for the same samples, (N, M, C).
    """
    named = _checked(logits).argmax(2)
    return (named[:, None] != named[None]).double().mean(2)


def divergence(logits: Tensor) -> Tensor:
    """Mean over the samples of KL(row ‖ column) of the predictions at temperature 1, nats, (N, N) float64.

    Args:
        logits: of N classifiers for the same samples, (N, M, C).
    """
    log_p = _checked(logits).double().log_softmax(2)
    cross = torch.einsum("imc,jmc->ij", log_p.exp(), log_p) / log_p.shape[1]
    return (cross.diagonal()[:, None] - cross).clamp_min(0)


def _checked(logits: Tensor) -> Tensor:
    if logits.ndim != 3 or 0 in logits.shape:
        raise ValueError(f"logits must be (N, M, C), none of them 0, got {tuple(logits.shape)}")
    return logits.detach().cpu()
