"""What is measured of a student around and during its transfer, beside what a pipeline judges it by."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from ..distillers import Term
from ..engine import Accelerator, Evaluate, WeightAverage, seeded
from ..evaluation import AlignmentEvaluator
from ..transfer import Teacher
from .results import RunResult, Transferred

ALIGNMENT, BEFORE = "alignment/", "alignment_before/"
"""Before the names of the figures of `crdkit.evaluation.align`: of a student in or after its transfer, and of
the same student before it."""
COLLAPSE_THRESHOLDS = {"effective_rank": 1.5, "spread": 0.01}
"""Below one of these an embedding has collapsed: to a line, or to a point."""


class Diagnostics:
    """Measures a student beside its training.

    Args:
        aligner: measures the alignment with the teachers; None for a transfer whose labels say enough.
        teachers: of this transfer.
        accelerator: where the student runs.
    """

    def __init__(
        self, aligner: AlignmentEvaluator | None, teachers: Sequence[Teacher], accelerator: Accelerator
    ) -> None:
        self.aligner, self.accelerator = aligner, accelerator
        self.teachers = [(teacher.network, teacher.modality) for teacher in teachers]
        self.warned = False

    @property
    def aligns(self) -> bool:
        """Whether there is an alignment to measure."""
        return self.aligner is not None and bool(self.teachers)

    def align(self, student: nn.Module) -> dict[str, float]:
        """The figures of `crdkit.evaluation.align`, named `alignment/…`; none without aligner or teacher."""
        if self.aligner is None or not self.aligns:
            return {}
        # A network may draw in evaluation, too: the same numbers every time, and none of the run's.
        with seeded(0):
            found = self.aligner(student.to(self.accelerator.device), self.teachers)
        return {ALIGNMENT + name: value for name, value in found.items()}

    def evaluate_with(
        self, judge: Evaluate | None, terms: Mapping[str, Term], average: WeightAverage | None = None
    ) -> Evaluate | None:
        """What a training calls: the judge's figures, `TERM/…` of what an objective tells of its critic, and
        the alignment. Warns once of an embedding that has collapsed.

        Args:
            average: of the weights; a critic has met the last ones alone, and tells nothing of it.
        """

        def evaluate(module: nn.Module) -> dict[str, float]:
            student: Any = module.student
            found = {} if judge is None else judge(module)
            told = {} if average is not None and average.is_applied else diagnostics(terms)
            return {**found, **told, **self._warned(self.align(student))}

        offered = any(True for term in terms.values() for _ in _telling(term.objective))
        return None if judge is None and not offered and not self.aligns else evaluate

    def _warned(self, found: dict[str, float]) -> dict[str, float]:
        low = [
            name
            for name, least in COLLAPSE_THRESHOLDS.items()
            if found.get(ALIGNMENT + name, math.inf) < least
        ]
        if low and not self.warned and self.accelerator.is_main_process:
            self.warned = True
            figures = " and ".join(f"its {name} is {found[ALIGNMENT + name]:.3g}" for name in low)
            warnings.warn(
                f"the student's embedding has collapsed, {figures}: it says nearly the same of every sample. "
                "Lower the learning rate (--student-lr), or let a contrast take its negatives from the batch "
                "(--setting crd.negatives=batch); if it was so before the transfer (alignment_before), look "
                "whether the student's modality differs between samples",
                stacklevel=2,
            )
        return found


def diagnostics(terms: Mapping[str, Term]) -> dict[str, float]:
    """What the objectives of some terms tell of themselves (`diagnostics()`), as `TERM/NAME`; of a term with
    several contrasts, one for each teacher, the mean."""
    found: dict[str, list[float]] = {}
    for name, term in terms.items():
        for module in _telling(term.objective):
            for key, value in module.diagnostics().items():
                if math.isfinite(value):
                    found.setdefault(f"{name}/{key}", []).append(float(value))
    return {name: sum(values) / len(values) for name, values in found.items()}


def with_alignment(done: RunResult, transferred: Transferred) -> RunResult:
    """A run with what was measured around its transfer: in its metrics the last figures and those before, in
    its details under `alignment` a row for each evaluation, epoch 0 being before."""
    if not transferred.before and not transferred.after:
        return done
    rows = [{"epoch": 0, **transferred.before}]
    rows += [{"epoch": row["epoch"], **_measured(row)} for row in transferred.history if _measured(row)]
    before = {name.replace(ALIGNMENT, BEFORE): value for name, value in transferred.before.items()}
    return replace(
        done,
        metrics={**done.metrics, **transferred.after, **before},
        details={**done.details, "alignment": rows},
    )


def last_alignment(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the last row of a history has of `Diagnostics`; nothing if it has no alignment."""
    found = _measured(history[-1]) if history else {}
    return found if any(name.startswith(ALIGNMENT) for name in found) else {}


def _measured(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if "/" in name}


def _telling(module: nn.Module) -> Iterator[Any]:
    """The outermost modules with a method `diagnostics`."""
    if callable(getattr(module, "diagnostics", None)):
        yield module
    else:
        for child in module.children():
            yield from _telling(child)
