"""How well a student is aligned with its teacher, on pairs without labels: whether a transfer works."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Subset

from ..common import UserError
from ..engine import Accelerator
from .batches import on_main
from .features import embed

# Cosines of fp32 features that differ by less are ties: an image in two batches differs by as much.
_TIE = 1e-6
_PENALTIES = tuple(10.0**power for power in range(-4, 2))
FEWEST_PAIRS = 4
"""The unbiased estimate of CKA needs as many."""

Pairs = tuple[Tensor, Tensor]
"""Embeddings of the student, (N, D), and of the teacher, (N, D'), row by row of one sample."""


def align(fit: Pairs, held_out: Pairs) -> dict[str, float]:
    """How well a student's embedding tells the teacher's, for pairs that were not seen.

    The two live in different spaces. A ridge regression from the student's embedding (standardized) to the
    teacher's (centered), fitted on the pairs of `fit` with the penalty of least leave-one-out error,
    predicts the teacher's embedding of the held-out samples. Cosines of these predictions with what the
    teacher says ask the same of every method, with or without heads, and of a student that has learned
    nothing yet.

    Returns:
        `cosine`: the mean of the true pairs, at most 1; about 0 for a student that knows nothing.
        `r1`, `r10`: share of the samples whose prediction has its own teacher vector as the nearest of all,
        or among the nearest ten; chance is 1 and 10 of N. `back_r1`, `back_r10`: share of the teacher vectors
        that find their own sample's prediction so. Ties count against it.
        `cka`: `linear_cka` of the embeddings themselves.
        `effective_rank`: in how many directions the student's embedding differs between samples, about its
        mean; near 1 it has collapsed to a line. `spread`: root mean square distance from that mean over root
        mean square length, 0 … 1; near 0 every sample has the same vector.
        `pairs`: N, those held out.

    Raises:
        ValueError: fewer than 4 pairs, other shapes, values that are not finite.
    """
    for name, (student, teacher) in (("fit", fit), ("held_out", held_out)):
        if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher):
            raise ValueError(
                f"{name} must be embeddings (N, D) and (N, D') of the same samples, got "
                f"{tuple(student.shape)} and {tuple(teacher.shape)}"
            )
        if len(student) < FEWEST_PAIRS:
            raise UserError(f"{name} must have at least {FEWEST_PAIRS} pairs, got {len(student)}")
        if not (torch.isfinite(student).all() and torch.isfinite(teacher).all()):
            raise UserError(f"the embeddings of {name} hold NaN or infinity")
    predicted, teacher = _regress(fit, held_out)
    centered, spread = _center(held_out[0])
    found = {"cosine": float(F.cosine_similarity(predicted, teacher).mean())}
    for way, ranks in (("", match_ranks(predicted, teacher)), ("back_", match_ranks(teacher, predicted))):
        found |= {f"{way}r{k}": float((ranks <= k).double().mean()) for k in (1, 10)}
    return {
        **found,
        "cka": linear_cka(*held_out),
        "effective_rank": effective_rank(centered),
        "spread": spread,
        "pairs": float(len(teacher)),
    }


def match_ranks(queries: Tensor, gallery: Tensor) -> Tensor:
    """The place of each query's own row among all rows of the gallery by cosine, from 1, (N,) int64.

    Rows as near as the own one, up to rounding, come before it: a constant has rank N everywhere.

    Args:
        queries, gallery: (N, D); row i of both belongs together.
    """
    if queries.ndim != 2 or queries.shape != gallery.shape:
        raise ValueError(
            f"queries and gallery must be (N, D) both, got {tuple(queries.shape)}, {tuple(gallery.shape)}"
        )
    scores = F.normalize(queries.double(), dim=1) @ F.normalize(gallery.double(), dim=1).T
    return (scores >= scores.diagonal()[:, None] - _TIE).sum(1)


def effective_rank(vectors: Tensor) -> float:
    """In how many directions vectors spread: e^H, H the entropy of their singular values over their sum.

    k orthogonal directions of equal extent give k; the same vector for every sample gives 1 (Roy & Vetterli,
    The effective rank, 2007; Garrido et al., RankMe, 2023, for embeddings). Zeros alone give 0.

    Args:
        vectors: (N, D), taken as they are, not about their mean.
    """
    values = torch.linalg.svdvals(vectors.double())
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp()) if values.sum() > 0 else 0.0


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centered kernel alignment of two embeddings of the same samples: 1 if one is the other rotated
    and scaled, about 0 if they are independent, whatever their dimensions.

    Kornblith et al., Similarity of neural network representations revisited, 2019, with the unbiased
    estimate of HSIC (Song et al., Feature selection via dependence maximization, 2012, Eq. 5): the biased
    one is near 1 for any two embeddings with more dimensions than samples. 0 if one of them is constant.

    Args:
        x, y: (N, D) and (N, D') with N of at least 4.
    """
    if len(x) != len(y) or len(x) < FEWEST_PAIRS:
        raise ValueError(f"x and y must have the same {FEWEST_PAIRS} rows or more, got {len(x)}, {len(y)}")
    kernels = [_gram(x), _gram(y)]
    own = [_hsic(kernel, kernel) for kernel in kernels]
    return _hsic(*kernels) / (own[0] * own[1]) ** 0.5 if min(own) > 0 else 0.0


class AlignmentEvaluator:
    """Measures the alignment of students with their teachers on pairs, of which it reads no label.

    Every rank calls it and embeds its share; the figures are the main rank's, and all ranks have them. It
    does not change a bit of the networks and draws nothing.

    Args:
        fit: a data set of pairs to fit the regression on, such as the training split without augmentation.
        held_out: a data set of pairs that no training sees.
        accelerator: device, precision and ranks.
        modality: what the student sees of a sample.
        pairs: the most that are taken of each data set.
        seed: of the draw of these.
        num_workers: processes that read, on each rank.

    Raises:
        ValueError: fewer than 4 pairs.
    """

    def __init__(
        self,
        fit: Any,
        held_out: Any,
        accelerator: Accelerator,
        *,
        modality: str,
        pairs: int = 2000,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        for name, count in (("fit", len(fit)), ("held_out", len(held_out)), ("pairs", pairs)):
            if count < FEWEST_PAIRS:
                raise UserError(f"{name}: alignment needs at least {FEWEST_PAIRS} pairs, got {count}")
        self.parts = [_some(dataset, pairs, seed) for dataset in (fit, held_out)]
        self.accelerator, self.modality, self.num_workers = accelerator, modality, num_workers
        self._teachers: WeakKeyDictionary[nn.Module, dict[str, Pairs]] = WeakKeyDictionary()

    def __call__(self, student: nn.Module, teachers: Sequence[tuple[nn.Module, str]]) -> dict[str, float]:
        """The figures of `align`; of several teachers their means.

        Args:
            student: on the device, returning `Outputs`.
            teachers: frozen networks, each with the modality that it sees; each is run once for all calls.
        """
        if not teachers:
            raise ValueError("alignment is with a teacher, and there is none")
        ours = self._embed(student, self.modality)
        theirs = []
        for network, modality in teachers:
            kept = self._teachers.setdefault(network, {})
            if modality not in kept:
                kept[modality] = self._embed(network, modality)
            theirs.append(kept[modality])

        def figures() -> dict[str, float]:
            found = [align((ours[0], fit), (ours[1], held_out)) for fit, held_out in theirs]
            return {name: sum(one[name] for one in found) / len(found) for name in found[0]}

        return on_main(figures)

    def _embed(self, network: nn.Module, modality: str) -> Pairs:
        """The embeddings of both parts."""
        device = self.accelerator.device
        with self.accelerator.autocast():
            fit, held_out = (
                embed(network, part, modality=modality, device=device, num_workers=self.num_workers)
                for part in self.parts
            )
        return fit, held_out


def _some(dataset: Any, count: int, seed: int) -> Any:
    """At most `count` samples, drawn by the seed, in the data's order."""
    if len(dataset) <= count:
        return dataset
    rows = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:count]
    return Subset(dataset, rows.sort().values.tolist())


def _regress(fit: Pairs, held_out: Pairs) -> Pairs:
    """The teacher's held-out embeddings as the student's predict them, and as they are; both about the mean
    of those fitted."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (student, teacher), (student_out, teacher_out) = ([x.double() for x in part] for part in (fit, held_out))
    mean = teacher.mean(0)
    penalties = [len(student) * penalty for penalty in _PENALTIES]
    ridge = make_pipeline(StandardScaler(), RidgeCV(penalties, fit_intercept=False))
    ridge.fit(student.numpy(), (teacher - mean).numpy())
    predicted = torch.from_numpy(ridge.predict(student_out.numpy())).reshape(teacher_out.shape)
    return predicted, teacher_out - mean


def _center(x: Tensor) -> tuple[Tensor, float]:
    """Vectors about their mean, float64, and their distance from it over their length (both root mean
    square); zeros if they are constant up to rounding."""
    x = x.double()
    centered = x - x.mean(0)
    spread = float(centered.norm() / x.norm()) if x.any() else 0.0
    return (centered, spread) if spread > _TIE else (torch.zeros_like(x), 0.0)


def _gram(x: Tensor) -> Tensor:
    """The linear kernel of centered vectors of mean square length 1, without its diagonal, (N, N) float64;
    zeros if they are constant up to rounding."""
    centered, spread = _center(x)
    if spread > 0:
        centered = centered * (len(x) ** 0.5 / centered.norm())
    return (centered @ centered.T).fill_diagonal_(0)


def _hsic(k: Tensor, m: Tensor) -> float:
    """The unbiased estimate of HSIC of two kernels whose diagonals are 0."""
    n = len(k)
    whole = k.sum() * m.sum() / ((n - 1) * (n - 2))
    product = (k * m).sum() + whole - 2 / (n - 2) * (k.sum(0) @ m.sum(1))
    return float(product / (n * (n - 3)))
