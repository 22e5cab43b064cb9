"""Seconds that calls take."""

import time
from collections.abc import Callable, Sequence


def time_calls(
    calls: Sequence[Callable[[], object]],
    *,
    warmup: int = 1,
    repeats: int = 5,
    synchronize: Callable[[], object] | None = None,
) -> list[list[float]]:
    """Return the seconds of every repetition of each call, (len(calls), repeats).

    The calls take turns, so that other work of the machine affects all of them equally.

    Args:
        calls: what is timed.
        warmup: rounds that are not timed.
        repeats: rounds that are timed.
        synchronize: waits for the device after each call, such as `torch.cuda.synchronize`; None for a CPU.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(warmup + repeats):
        for call, taken in zip(calls, seconds, strict=True):
            begun = time.perf_counter()
            call()
            if synchronize is not None:
                synchronize()
            if turn >= warmup:
                taken.append(time.perf_counter() - begun)
    return seconds
