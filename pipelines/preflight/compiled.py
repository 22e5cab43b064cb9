"""Whether compiling the live teachers would save time: measured for the plan, decided by a flag."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...common import time_calls
from ...engine import Accelerator, in_words
from ...models import Outputs, evaluating
from ...transfer import Compiled, Teacher, TransferConfig, TransferData

MIN_TEACHER_SECONDS = 600.0
"""Seconds of a run that a teacher takes at least before compiling it is tried: trying takes half a minute."""
TIMED_CALLS = 8


class CompileEstimate(NamedTuple):
    """Durations of the teachers of a run."""

    plain_ms: float
    """Milliseconds of a batch."""
    compiled_ms: float
    """Milliseconds of a batch through the compiled networks."""
    compile_seconds: float
    """Seconds that compiling takes."""


def runs_live_teachers(config: TransferConfig) -> bool:
    """Return whether the teachers run in every step, and are not compiled."""
    return not (config.cached_augmentations or config.compile_teachers)


def advise(
    teachers: Sequence[Teacher],
    steps: int,
    *,
    config: TransferConfig,
    data: TransferData,
    accelerator: Accelerator,
) -> list[str]:
    """Return what would speed up live teachers: `--transfer.compile-teachers`, or cached outputs.

    Nothing is advised for teachers that take little of the run, in fp32, where compiling would change the
    results without a lower precision to pay for it, or where the flags are set already.

    Args:
        teachers: of the run, as a trial has them.
        steps: optimizer steps of all transfers together.
        config: settings of the transfer.
        data: samples of the transfer.
        accelerator: where the teachers run.
    """
    if not runs_live_teachers(config) or not teachers:
        return []
    lower = accelerator.mixed_precision != "no"
    lines: list[str] = []
    try:
        estimates = [_measure(t, steps, config, data, accelerator, compiling=lower) for t in teachers]
    except Exception as error:  # compilers fail in many ways, and the networks run without them
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        return [f"the teachers cannot be compiled ({reason})"]
    if any(estimate is None for estimate in estimates):
        return []
    plain, compiled, seconds = map(sum, zip(*filter(None, estimates), strict=True))
    if config.mix == "none":
        lines.append(
            f"live teachers take about {in_words(steps * plain / 1000)} of this run: "
            "--transfer.cached-augmentations 4 would run them once for each of 4 augmentations of every "
            "sample, which then repeat (docs/performance.md)"
        )
    if lower:
        saved = steps * (plain - compiled) / 1000 - seconds
        verdict = f"saves {in_words(saved)}" if saved > 0 else "does not pay"
        lines.append(
            f"the teachers take {plain:.1f} ms a batch, compiled {compiled:.1f} ms; compiling takes "
            f"{in_words(seconds)}: --transfer.compile-teachers {verdict}"
        )
    return lines


def _measure(
    teacher: Teacher,
    steps: int,
    config: TransferConfig,
    data: TransferData,
    accelerator: Accelerator,
    *,
    compiling: bool,
) -> CompileEstimate | None:
    """Return the durations of one teacher; None if it takes too little of the run."""
    images = torch.rand(config.train.batch_size, *data.shape(teacher.modality), device=accelerator.device)
    # In training mode, the batch-norm statistics would follow this noise.
    with evaluating(teacher.network), torch.no_grad(), accelerator.autocast():
        for calls in (1, TIMED_CALLS):  # the first, which warms up, spares short runs the others
            plain = _milliseconds(teacher.network, images, calls)
            if plain * steps / 1000 < MIN_TEACHER_SECONDS:
                return None
        if not compiling:
            return CompileEstimate(plain, plain, 0.0)
        compiled = Compiled(teacher.network)
        ((seconds,),) = time_calls([lambda: compiled(images)], warmup=0, repeats=1)
        return CompileEstimate(plain, _milliseconds(compiled, images, TIMED_CALLS), seconds)


def _milliseconds(call: Callable[[Tensor], Outputs], images: Tensor, calls: int) -> float:
    """Return the median duration of some calls, without the first if there are more."""

    def once() -> None:
        total = call(images).embedding.float().sum()
        if not math.isfinite(float(total)):  # reading it waits for a GPU, too
            raise ValueError("an embedding is not finite")

    warmup = min(1, calls - 1)
    (seconds,) = time_calls([once], warmup=warmup, repeats=calls - warmup)
    return 1000 * statistics.median(seconds)
