"""Which precision a machine is fast in: bf16 where it has units for it, else fp32."""

import contextlib
import hashlib
import json
import os
from functools import partial
from typing import Literal, NamedTuple

import torch

from ..common import cache_folder, processor, time_calls, write_json

PROBE = 0.05
"""Seconds for each precision."""
FASTER = 1.25
"""bf16 is taken where it is faster by this factor: it has costs of its own around the layers."""
KEPT = "precision.json"
SWITCH = "CRDKIT_PRECISION"
"""Variable that decides in the place of the timing: `no` or `bf16`."""


class Choice(NamedTuple):
    """A precision and why."""

    precision: Literal["no", "bf16"]
    reason: str


def fast_precision(device: torch.device) -> Choice:
    """What is fast on a device. A CPU is timed once, for each processor, version of torch and number of
    threads, and the figures are kept in the user's cache folder, so that all runs there choose alike."""
    said = os.environ.get(SWITCH)
    if said in ("no", "bf16"):
        return Choice("no" if said == "no" else "bf16", f"{SWITCH} says so")
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if torch.cuda.get_device_capability(device) >= (8, 0):
            return Choice("bf16", f"{name} has units for it")
        return Choice("no", f"{name} has no units for bf16")
    fp32, bf16 = _kept(device)
    told = f"a convolution takes {fp32:.2f} ms in fp32 and {bf16:.2f} ms in bf16 on this processor"
    return Choice("bf16" if fp32 > FASTER * bf16 else "no", told)


def milliseconds(device: torch.device) -> tuple[float, float]:
    """Of a 3 × 3 convolution of 64 channels, 16 × 32 × 32 pixels, forward and backward, in fp32 and bf16: the
    fastest of those that fit in a tenth of a second, taken in turns."""
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.Conv2d(64, 64, 3, padding=1, device=device).to(memory_format=torch.channels_last)
        image = torch.randn(16, 64, 32, 32, device=device).to(memory_format=torch.channels_last)
    image.requires_grad_()

    def once(low: bool) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=low):
            layer(image).sum().backward()

    calls = (partial(once, False), partial(once, True))
    wait = torch.cuda.synchronize if device.type == "cuda" else None
    taken = time_calls(calls, warmup=1, repeats=1, synchronize=wait)
    while sum(map(sum, taken)) < 2 * PROBE:
        more = time_calls(calls, warmup=0, repeats=1, synchronize=wait)
        taken = [seconds + new for seconds, new in zip(taken, more, strict=True)]
    fp32, bf16 = (1000 * min(seconds) for seconds in taken)
    return fp32, bf16


def _kept(device: torch.device) -> tuple[float, float]:
    """`milliseconds`, as they were found first on this machine."""
    made_of = f"{processor()} {torch.__version__} {torch.get_num_threads()}"
    name = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    known: dict[str, list[float]] = {}
    try:
        place = cache_folder() / KEPT
        found = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
        known = found if isinstance(found, dict) else {}
        fp32, bf16 = known[name]
        return float(fp32), float(bf16)
    except (OSError, ValueError, KeyError, TypeError):
        taken = milliseconds(device)
    with contextlib.suppress(OSError):  # then it is timed again
        write_json(cache_folder() / KEPT, {**known, name: taken})
    return taken
