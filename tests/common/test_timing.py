"""Calls are timed in turns, after those that warm up."""

from functools import partial

import pytest

from crdkit.common import time_calls


def test_calls_take_turns_and_the_first_rounds_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    clock = [0.0]

    def call(name: str, seconds: float) -> None:
        order.append(name)
        clock[0] += seconds if len(order) > 8 else 100.0

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    calls = [partial(call, "a", 1.0), partial(call, "b", 3.0)]
    seconds = time_calls(calls, warmup=2, repeats=3, synchronize=partial(call, "wait", 0.5))
    assert order == ["a", "wait", "b", "wait"] * 5
    assert seconds == [[1.5] * 3, [3.5] * 3]
