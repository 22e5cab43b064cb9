"""The pool of teachers: trained or read, and judged before anything is distilled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from ..data import ImageSplits
from ..engine import ClassifyTask, StageRunner, derive_seed, digest, make_classifier, seeded
from ..evaluation import Evaluator, calibration_error, disagreement, divergence
from ..models import Outputs, measure
from .config import MembersConfig


@dataclass(frozen=True)
class Member:
    """One teacher of the pool."""

    name: str
    network: nn.Module
    """(B, 3, H, W) in [0, 1] -> `Outputs` with logits (B, C)."""


def make_pool(
    config: MembersConfig, images: ImageSplits, stages: StageRunner, judge: Evaluator
) -> list[Member]:
    """The members of a configuration, trained in `members/seed-N` of the run folder or read from their files.

    Raises:
        ValueError: a file that does not fit its architecture or the classes; the member is named.
    """
    pool: list[Member] = []
    for number in range(config.size):
        architecture = config.architecture[number % len(config.architecture)]
        seed = config.seed + number
        weights = config.weights[number] if config.weights else None
        try:
            with seeded(seed):
                network = make_classifier(architecture, images, weights)
        except (ValueError, OSError) as error:
            raise type(error)(f"member {number} ({weights or architecture}): {error}") from error
        if weights is None:
            train, facts = config.train, {"architecture": architecture, "differ_by": config.differ_by}
            if config.differ_by == "snapshots" and pool:
                begin = pool[-1].network.state_dict()
                network.load_state_dict(begin)
                train = replace(train, warmup_epochs=0.0)
                facts["begin"] = digest(begin)
            stages.train(
                f"members/seed-{seed}", ClassifyTask(network, images.augment),
                _samples(images.train, config.differ_by, seed), train, seed,
                evaluate=judge.top1(), facts=facts,
            )  # fmt: skip
        pool.append(Member(f"{architecture}-{number}", network))
    return pool


def check_members(members: Sequence[Member], images: ImageSplits) -> None:
    """Raise `ValueError`, with the member's name, for one without logits of the images' classes."""
    size = tuple(images.train[0]["rgb"].shape)
    for member in members:
        logits = measure(member.network, size).logits
        if logits != (images.num_classes,):
            found = "no logits" if logits is None else f"logits of {logits}"
            raise ValueError(
                f"member {member.name} gives {found}; the images have {images.num_classes} classes"
            )


class EnsembleMean(nn.Module):
    """What several classifiers predict together: logits are the logarithm of their mean probability.

    Args:
        teachers: a view -> the `Outputs` of all of them.
    """

    def __init__(self, teachers: nn.Module) -> None:
        super().__init__()
        self.teachers = teachers

    def forward(self, view: Tensor) -> Outputs:
        """The mean's logits (B, C) and the first teacher's embedding."""
        outputs = self.teachers(view)
        return Outputs(mean_logits(torch.stack([o.logits for o in outputs])), (), outputs[0].embedding)


def mean_logits(logits: Tensor) -> Tensor:
    """Logarithm of the mean probability, (B, C), of logits (N, B, C); in fp32 or wider."""
    log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(2)
    return log_p.logsumexp(0) - torch.tensor(float(len(logits))).log()


def describe(members: Sequence[Member], logits: Tensor, label: Tensor) -> dict[str, Any]:
    """What a person wants to know of a pool before it teaches.

    Args:
        members: N of them.
        logits: theirs for the test split, (N, M, C).
        label: (M,).

    Returns:
        `members`: name, top1, calibration_error of each · `ensemble`: both of the mean of their probabilities
        · `disagreement` and `divergence`: (N, N) as lists.
    """

    def judged(name: str, rows: Tensor) -> dict[str, Any]:
        return {
            "name": name,
            "top1": float((rows.argmax(1) == label).double().mean()),
            "calibration_error": calibration_error(rows.double().softmax(1), label),
        }

    return {
        "members": [judged(member.name, rows) for member, rows in zip(members, logits, strict=True)],
        "ensemble": judged("ensemble", mean_logits(logits)),
        "disagreement": disagreement(logits).tolist(),
        "divergence": divergence(logits).tolist(),
    }


def draw_members(size: int, number: int, draw: int) -> tuple[int, ...]:
    """`number` of `size` members, in the order of a permutation that `draw` decides."""
    generator = torch.Generator().manual_seed(derive_seed("draw", draw))
    return tuple(torch.randperm(size, generator=generator)[:number].tolist())


def _samples(train: Any, differ_by: str, seed: int) -> Dataset[Any]:
    if differ_by != "bootstrap":
        return train
    generator = torch.Generator().manual_seed(derive_seed("bootstrap", seed))
    rows = torch.randint(len(train), (len(train),), generator=generator).tolist()
    return Subset(train, rows)
