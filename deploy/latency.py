"""How long one call takes."""

import statistics
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ..common import time_calls


def latency(
    runners: Mapping[str, Callable[[Tensor], object]], images: Tensor, *, repeats: int = 20
) -> dict[str, float]:
    """Milliseconds of a call of each runner on a batch: the median of `repeats`, taken in turn, so that what
    else the machine does falls on all alike; after two calls to warm up."""
    wait = torch.cuda.synchronize if images.is_cuda else None
    calls = [partial(run, images) for run in runners.values()]
    with torch.inference_mode():
        taken = time_calls(calls, warmup=2, repeats=repeats, synchronize=wait)
    return {name: 1000 * statistics.median(times) for name, times in zip(runners, taken, strict=True)}
