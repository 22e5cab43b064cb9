"""The protocol of an ensemble run: a pool of teachers, then every method with ensembles of every size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import ImageSplits
from ..distillers import build_terms, check_settings, parse_method, parse_settings, settings_of
from ..engine import (
    Accelerator,
    StageRunner,
    TaughtViews,
    digest,
    distil,
    facts_of,
    last_and_best,
    make_classifier,
    make_pair,
    seeded,
)
from ..evaluation import Evaluator
from .config import EnsembleConfig
from .members import EnsembleMean, Member, check_members, describe, draw_members, make_pool
from .objectives import READ_MAPS, methods_of_many
from .teachers import Teachers
from .views import FixedViews, ViewStore


@dataclass(frozen=True)
class RunResult:
    """One method with one ensemble and one seed, done."""

    method: str
    teachers: tuple[int, ...]
    """The members' numbers in the pool; () for `none`."""
    draw: int
    seed: int
    metrics: dict[str, Any]
    """top1 of the last epoch, best_top1 of the best, and what `classify` finds beside the ensemble."""
    history: list[dict[str, Any]]
    network: nn.Module
    """The student with its normalization."""


class Protocol:
    """All stages of a configuration over one set of images.

    Args:
        config: the run's settings.
        images: both splits and their statistics.
        accelerator: device, processes and precision.
        folder: the run folder; each stage has its own folder inside.
        members: the pool, instead of the configuration's: networks of one's own, each from images
            (B, 3, H, W) in [0, 1] to `Outputs`, of any width.

    Raises:
        ValueError: an unknown method or network, or a member with other classes, which is named.
    """

    def __init__(
        self,
        config: EnsembleConfig,
        images: ImageSplits,
        accelerator: Accelerator,
        folder: Path,
        *,
        members: Sequence[nn.Module] | None = None,
    ) -> None:
        self.methods = methods_of_many(reduction=config.reduction, share_student=config.share_student)
        for method in config.method:
            parse_method(method, self.methods.keys())
        self.settings = parse_settings(config.setting)
        check_settings(self.settings, self.methods)
        self.config, self.images, self.accelerator = config, images, accelerator
        self.stages = StageRunner(
            folder, accelerator, reuse=config.reuse, facts=facts_of(config.data, images)
        )
        self.judge = Evaluator(images.test, images.num_classes, accelerator)
        self._own = members
        with seeded(0):  # an unknown name is told before the members train
            make_classifier(config.student, images)

    @cached_property
    def pool(self) -> list[Member]:
        """Stage 1: the members, on the device."""
        if self._own is None:
            pool = make_pool(self.config.members, self.images, self.stages, self.judge)
        else:
            pool = [Member(f"{type(net).__name__}-{i}", net) for i, net in enumerate(self._own)]
        check_members(pool, self.images)
        for member in pool:
            member.network.to(self.accelerator.device)
        return pool

    @cached_property
    def logits(self) -> Tensor:
        """Of every member for the test split, (N, M, C) float32 on the CPU."""
        return torch.stack([self.judge.logits(member.network).vectors for member in self.pool])

    def describe(self) -> dict[str, Any]:
        """Accuracy, calibration and diversity of the pool; see `members.describe`."""
        return describe(self.pool, self.logits, self.images.test.labels.cpu())

    def memory(self) -> str | None:
        """What the memories of `crd` take on the device with the most teachers, in a sentence."""
        named = (parse_method(method, self.methods.keys()) for method in self.config.method)
        if not self.config.teachers or not any("crd" in terms for terms in named):
            return None
        settings = self.settings.get("crd", {})
        if settings.get("negatives") == "batch":
            return None
        rows, width = (
            len(self.images.train),
            settings.get("embed_dim", settings_of(self.methods["crd"])["embed_dim"].default),
        )
        number = max(self.config.teachers)
        own, shared = 2 * number, number + 1
        one = rows * width * 4 / 2**20
        banks = shared if self.config.share_student else own
        line = f"crd with {number} teachers keeps {banks} memories of {rows} × {width}: {banks * one:.0f} MiB"
        if self.config.share_student or number == 1:
            return line
        return f"{line}; --share-student would keep {shared}: {shared * one:.0f} MiB"

    def runs(self) -> Iterator[RunResult]:
        """Every seed, draw, method and number of teachers, as each is done; the pool first."""
        for seed in self.config.seed if self.config.teachers else ():
            if "none" in self.config.method:
                yield self.distil("none", (), seed, seed)
            for draw in self.config.draw or (seed,):
                for number in self.config.teachers:
                    teachers = draw_members(len(self.pool), number, draw)
                    for method in self.config.method:
                        if method != "none":
                            yield self.distil(method, teachers, draw, seed)

    def distil(self, method: str, teachers: tuple[int, ...], draw: int, seed: int) -> RunResult:
        """Stage 2: the student, taught by some members; the same first weights for every method of a seed."""
        config = self.config
        networks = [self.pool[number].network for number in teachers]
        with seeded(seed):
            student = make_classifier(config.student, self.images)
            pairs = [make_pair(student, network, self.images) for network in networks]
            terms = build_terms(method, pairs, self.settings, methods=self.methods)
        views = self._views(terms.keys(), teachers)
        folder = f"runs/{method}/"
        if teachers:
            folder += f"teachers-{len(teachers)}/draw-{draw}/"
        folder += f"seed-{seed}"
        facts = {
            "student": config.student,
            "method": method,
            "settings": {name: self.settings.get(name, {}) for name in terms},
            "reduction": config.reduction,
            "share_student": config.share_student,
            "teachers": [digest(network.state_dict()) for network in networks],
            "views": config.views,
        }
        history = distil(
            self.stages, folder, student, terms, views, self.images, config, seed, teacher=views.teacher,
            evaluate=self.judge.top1(lambda module: module.student), facts=facts,
        )  # fmt: skip
        teacher = EnsembleMean(Teachers(networks)) if networks else None
        found = self.judge(student, teacher=teacher)
        scalars = {name: value for name, value in found.items() if not isinstance(value, Tensor)}
        metrics = {**last_and_best(history, "top1"), **scalars}
        return RunResult(method, teachers, draw, seed, metrics, history, student)

    def _views(self, terms: Any, teachers: tuple[int, ...]) -> TaughtViews | FixedViews:
        networks = [self.pool[number].network for number in teachers] if terms else []
        live = bool(networks) and (not self.config.views or any(name in READ_MAPS for name in terms))
        alive = Teachers(networks) if live else None
        if not self.config.views:
            return TaughtViews(self.images.augment, alive)
        answers = [self._store.answers(network) for network in networks] if not live else []
        return FixedViews(self._store.views(), answers, alive)

    @cached_property
    def _store(self) -> ViewStore:
        return ViewStore(
            self.config.cache or self.stages.folder / "views",
            self.images,
            self.config.views,
            facts={**self.stages.facts, "augment": asdict(self.config.data.augment)},
            accelerator=self.accelerator,
        )
