"""Linear probes: how much of the classes a frozen representation shows to a linear classifier."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import UserError
from ..engine import derive_seed
from .features import Features, check_pair


class ProbeResult(NamedTuple):
    """A linear probe, fitted on all training samples with the setting that the held-out ones chose."""

    top1: float
    """Accuracy on the test samples, a fraction of 1."""
    chosen: float
    """The regularization's C, or the learning rate."""
    candidates: tuple[float, ...]
    """All that were tried."""
    validation: tuple[float, ...]
    """Accuracy of each on the held-out part of the training samples, when fitted on the rest."""
    n_train: int
    """Training samples, with those held out for the choice."""
    n_test: int
    """Test samples."""
    dimension: int
    """D of the features."""


def hold_out(label: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits rows by class: those to fit on and those to choose a setting by, each in rising order.

    Of every class `share` of its rows are held out, rounded, at least one and never all of them: a class
    with a single row is only fitted on.

    Args:
        label: (N,) classes.
        share: between 0 and 1.
        seed: decides which rows.

    Raises:
        ValueError: for a share outside (0, 1), or where every class has a single row.
    """
    if not 0 < share < 1:
        raise ValueError(f"the held-out share must be between 0 and 1, got {share}")
    generator = torch.Generator().manual_seed(derive_seed("hold out", seed))
    held = torch.zeros(len(label), dtype=torch.bool)
    for value in label.unique().tolist():
        rows = (label == value).nonzero().flatten()
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        held[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    if not held.any():
        raise UserError("no training sample can be held out: every class has a single one")
    return (~held).nonzero().flatten(), held.nonzero().flatten()


def probe_logistic(
    train: Features,
    test: Features,
    *,
    strengths: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
    held_out: float = 0.2,
    seed: int = 0,
    max_iter: int = 1000,
) -> ProbeResult:
    """Multinomial logistic regression by scikit-learn on standardized features.

    C is the one with the best accuracy on a held-out part of the training samples, the smallest (the most
    regularized) among equals; with it the probe is fitted anew on all of them and tested once.

    Args:
        train, test: features of one layer, see `extract`.
        strengths: values of C to try, the inverse of the regularization.
        held_out: share of each class's training samples that choose C.
        seed: of the split; the fit itself has no randomness.
        max_iter: most iterations of the solver, L-BFGS; scikit-learn warns where they did not suffice.

    Raises:
        ValueError: for an argument out of range, fewer than two classes, or sets that do not go together (see
            the message).
    """
    from sklearn.linear_model import LogisticRegression

    def fit(known: Features, unknown: Features, candidates: Sequence[float]) -> list[float]:
        x, z = (part.double().numpy() for part in _standardize(known.vectors, unknown.vectors))
        y, truth = known.label.numpy(), unknown.label.numpy()
        models = (LogisticRegression(C=strength, max_iter=max_iter).fit(x, y) for strength in candidates)
        return [float((model.predict(z) == truth).mean()) for model in models]

    return _choose(train, test, strengths, "strengths", held_out, seed, fit)


def probe_sgd(
    train: Features,
    test: Features,
    *,
    lrs: Sequence[float] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
    epochs: int = 60,
    batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    held_out: float = 0.2,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> ProbeResult:
    """A linear layer on standardized features, trained by SGD: for sets too large for `probe_logistic`.

    60 epochs without weight decay are the published setting; here the rate falls to 0 by a cosine. The
    learning rate is chosen as `probe_logistic` chooses C. The layer starts at zero, so that the seed
    decides the split and the order alone; the same seed gives the same bits on one device.

    Args:
        train, test: features of one layer, see `extract`; they move to `device` as a whole.
        lrs: rates to try, all in one pass over the data.
        epochs: passes over the training samples, for the choice and again for the result.
        batch_size: samples a step; the last batch of an epoch may be smaller.
        momentum, weight_decay: of SGD.
        held_out: share of each class's training samples that choose the rate.
        seed: of the split and of the order.
        device: where the layer is trained; None for the features' own.

    Raises:
        ValueError: for an argument out of range, fewer than two classes, or sets that do not go together (see
            the message).
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    num_classes = check_pair(train, test)

    def fit(known: Features, unknown: Features, candidates: Sequence[float]) -> list[float]:
        x, z = _standardize(known.vectors.to(device), unknown.vectors.to(device))
        y, truth = known.label.to(device), unknown.label.to(device)
        heads = [nn.utils.skip_init(nn.Linear, x.shape[1], num_classes, device=x.device) for _ in candidates]
        groups = [
            {"params": list(head.parameters()), "lr": rate}
            for head, rate in zip(heads, candidates, strict=True)
        ]
        for head in heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        optimizer = torch.optim.SGD(groups, momentum=momentum, weight_decay=weight_decay)
        steps = -(-len(x) // batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
        generator = torch.Generator().manual_seed(derive_seed("probe order", seed))
        for _ in range(epochs):
            for rows in torch.randperm(len(x), generator=generator).to(x.device).split(batch_size):
                # The heads share no weight: each has the gradient of its own term of the sum.
                loss = sum((F.cross_entropy(head(x[rows]), y[rows]) for head in heads), x.new_zeros(()))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            return [int((head(z).argmax(1) == truth).sum()) / len(truth) for head in heads]

    with torch.enable_grad():
        return _choose(train, test, lrs, "lrs", held_out, seed, fit)


def _choose(
    train: Features,
    test: Features,
    candidates: Sequence[float],
    name: str,
    held_out: float,
    seed: int,
    fit: Callable[[Features, Features, Sequence[float]], list[float]],
) -> ProbeResult:
    """The candidate with the best accuracy on the held-out part; its accuracy on test, fitted on all."""
    if check_pair(train, test) < 2 or len(train.label.unique()) < 2:
        raise UserError("a probe needs at least two classes in train, got one")
    candidates = tuple(sorted(candidates))
    if not candidates or candidates[0] <= 0:
        raise ValueError(f"{name} must be positive, at least one, got {candidates}")
    known, chooser = hold_out(train.label, held_out, seed)
    parts = [Features(train.vectors[rows], train.label[rows]) for rows in (known, chooser)]
    validation = fit(parts[0], parts[1], candidates)
    chosen = candidates[validation.index(max(validation))]
    (top1,) = fit(train, test, [chosen])
    return ProbeResult(
        top1, chosen, candidates, tuple(validation), len(train.label), len(test.label), train.vectors.shape[1]
    )


def _standardize(known: Tensor, *others: Tensor) -> list[Tensor]:
    """All by the mean and the deviation of `known`; a dimension that does not vary there is only centered."""
    std, mean = torch.std_mean(known, dim=0, correction=0)
    # float32 resolves 1e-7 of a value: a deviation near that is rounding, and 1 / it would make it large.
    std = torch.where(std > 1e-6 * mean.abs(), std, 1.0)
    return [(part - mean) / std for part in (known, *others)]
