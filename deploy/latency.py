"""How long one call takes."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def latency(
    runners: Mapping[str, Callable[[Tensor], object]], images: Tensor, *, repeats: int = 20
) -> dict[str, float]:
    """Milliseconds of a call of each runner on a batch: the median of `repeats`, taken in turn, so that what
    else the machine does falls on all alike; after two calls to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in runners}
    with torch.inference_mode():
        for turn in range(repeats + 2):
            for name, run in runners.items():
                begin = time.perf_counter()
                run(images)
                if turn >= 2:
                    taken[name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(times) for name, times in taken.items()}
