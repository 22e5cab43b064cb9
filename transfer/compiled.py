"""Teachers whose forward pass is compiled, in runs that ask them often enough to pay for it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..engine import in_words
from ..models import Outputs, evaluating
from .targets import Compiled, Teacher

if TYPE_CHECKING:
    from .pipeline import Pipeline

WORTH = 600.0
"""Seconds that a run's teachers take at least, before compiling them is tried: half a minute for each."""


def choose_compiled(pipeline: Pipeline, teachers: Sequence[Teacher]) -> bool:
    """Whether the live teachers of a run are compiled: where that saves more seconds than it takes.

    It is tried in a lower precision than fp32 alone, whose bits stay what they are, and for teachers that
    take `WORTH` seconds of the run or more. What was found is printed and kept in the run folder: timings of
    a run that goes on would come out otherwise, and its bits with them.
    """
    config, say = pipeline.config.transfer, pipeline.accelerator.print
    if pipeline.accelerator.mixed_precision == "no" or config.cached_augmentations:
        return False
    steps = sum(n for stage, n in pipeline.stages.course.ahead.items() if stage.endswith("/transfer"))

    def measured() -> dict[str, Any]:
        try:
            kinds = [_time(pipeline, teacher, config.train.batch_size, steps) for teacher in teachers]
        except Exception as error:  # whatever a compiler says: the networks themselves are there
            why = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            say(f"the teachers are not compiled ({why}): they run as they are")
            return {"compiled": False, "why": why}
        if not all(kinds):
            return {"compiled": False}
        found = {name: sum(kind[name] for kind in kinds) for name in kinds[0]}
        saved = steps * (found["plain_ms"] - found["compiled_ms"]) / 1000 - found["seconds"]
        verdict = f"saves {in_words(saved)}" if saved > 0 else "does not pay"
        words = "{plain_ms:.1f} ms a batch, compiled {compiled_ms:.1f}; that takes {seconds:.0f} s"
        say(f"the teachers take {words.format(**found)}, and {verdict}")
        return {"compiled": saved > 0, "saved": saved, **found}

    return bool(pipeline.stages.keep("compiled-teachers", {"teachers": len(teachers)}, measured)["compiled"])


def _time(pipeline: Pipeline, teacher: Teacher, batch_size: int, steps: int) -> dict[str, float]:
    """Milliseconds a batch as it is and compiled, and the seconds that compiling takes; nothing where the
    teachers take too little of the run."""
    device = pipeline.accelerator.device
    images = torch.rand(batch_size, *pipeline.data.shape(teacher.modality), device=device)
    # One that was trained just now is in training mode: its batch-norm statistics would become the noise's.
    with evaluating(teacher.network), torch.no_grad(), pipeline.accelerator.autocast():
        plain = _milliseconds(teacher.network, images)
        if plain * steps / 1000 < WORTH:
            return {}
        start = time.perf_counter()
        fast = Compiled(teacher.network)
        fast(images)
        seconds = time.perf_counter() - start
        return {"plain_ms": plain, "compiled_ms": _milliseconds(fast, images), "seconds": seconds}


def _milliseconds(call: Callable[[Tensor], Outputs], images: Tensor) -> float:
    """The median of seven calls, after one that warms up."""
    taken = []
    for _ in range(8):
        start = time.perf_counter()
        total = call(images).embedding.float().sum()
        if not math.isfinite(float(total)):  # reading it waits for a GPU, too
            raise ValueError("an embedding is not finite")
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken[1:])
