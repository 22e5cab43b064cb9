"""Live teachers that take much of a run: compiled where that pays, and what would spare them altogether."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...common import UserError, time_calls
from ...engine import in_words
from ...models import Outputs, evaluating
from ...transfer import Compiled, Teacher

if TYPE_CHECKING:
    from ..base import Pipeline

WORTH = 600.0
"""Seconds that a run's teachers take at least, before compiling them is tried: half a minute for each."""
OFFER = (
    "--transfer.cached-augmentations 4 would ask them once for each of 4 augmentations of every sample, "
    "which then repeat (docs/performance.md)"
)


def choose_compiled(pipeline: Pipeline, teachers: Sequence[Teacher]) -> bool:
    """Whether the live teachers of a run are compiled: where that saves more seconds than it takes.

    It is tried in a lower precision than fp32 alone, whose bits stay what they are, and for teachers that
    take `WORTH` seconds of the run or more; of these is said, in any precision, that their answers could be
    kept. What was found is printed and kept in the run folder: timings of a run that goes on would come out
    otherwise, and its bits with them.
    """
    config, say = pipeline.config.transfer, pipeline.accelerator.print
    if config.cached_augmentations:
        return False
    lower = pipeline.accelerator.mixed_precision != "no"
    steps = sum(n for stage, n in pipeline.stages.course.ahead.items() if stage.endswith("/transfer"))

    def measured() -> dict[str, Any]:
        try:
            kinds = [_time(pipeline, teacher, steps, compiling=lower) for teacher in teachers]
        except Exception as error:  # whatever a compiler says: the networks themselves are there
            why = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            say(f"the teachers are not compiled ({why}): they run as they are")
            return {"compiled": False, "why": why}
        if not all(kinds):
            return {"compiled": False}
        found = {name: sum(kind[name] for kind in kinds) for name in kinds[0]}
        if config.mix == "none":
            whole = in_words(steps * found["plain_ms"] / 1000)
            say(f"live teachers take about {whole} of this run: {OFFER}")
        if not lower:
            return {"compiled": False, **found}
        saved = steps * (found["plain_ms"] - found["compiled_ms"]) / 1000 - found["seconds"]
        verdict = f"saves {in_words(saved)}" if saved > 0 else "does not pay"
        words = "{plain_ms:.1f} ms a batch, compiled {compiled_ms:.1f}; that takes {seconds:.0f} s"
        say(f"the teachers take {words.format(**found)}, and {verdict}")
        return {"compiled": saved > 0, "saved": saved, **found}

    return bool(pipeline.stages.keep("compiled-teachers", {"teachers": len(teachers)}, measured)["compiled"])


def _time(pipeline: Pipeline, teacher: Teacher, steps: int, *, compiling: bool) -> dict[str, float]:
    """Milliseconds a batch as it is and, where that is tried, compiled, and the seconds that compiling takes;
    nothing where the teachers take too little of the run."""
    device, batch_size = pipeline.accelerator.device, pipeline.config.transfer.train.batch_size
    images = torch.rand(batch_size, *pipeline.data.shape(teacher.modality), device=device)
    # One that was trained just now is in training mode: its batch-norm statistics would become the noise's.
    with evaluating(teacher.network), torch.no_grad(), pipeline.accelerator.autocast():
        for calls in (1, 8):  # the first, which warms up, is the slowest: it spares short runs the others
            plain = _milliseconds(teacher.network, images, calls)
            if plain * steps / 1000 < WORTH:
                return {}
        if not compiling:
            return {"plain_ms": plain}
        start = time.perf_counter()
        fast = Compiled(teacher.network)
        fast(images)
        seconds = time.perf_counter() - start
        return {"plain_ms": plain, "compiled_ms": _milliseconds(fast, images, 8), "seconds": seconds}


def _milliseconds(call: Callable[[Tensor], Outputs], images: Tensor, calls: int) -> float:
    """The median of some calls, but for the first, which warms up, if there are more."""

    def once() -> None:
        total = call(images).embedding.float().sum()
        if not math.isfinite(float(total)):  # reading it waits for a GPU, too
            raise UserError("an embedding is not finite")

    warmup = min(1, calls - 1)
    (seconds,) = time_calls([once], warmup=warmup, repeats=calls - warmup)
    return 1000 * statistics.median(seconds)
