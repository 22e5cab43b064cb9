"""The precision that a machine computes fast in: bf16 where it has units for it, else fp32."""

import contextlib
import hashlib
import json
import os
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from ..common import cache_folder, processor, time_calls, write_json

PROBE_SECONDS = 0.05
"""Seconds of measurement for each precision."""
MIN_SPEEDUP = 1.25
"""Factor by which bf16 must be faster to be chosen: around the layers it has costs of its own."""
SWITCH = "CRDKIT_PRECISION"
"""Variable that decides instead of the measurement: `no` or `bf16`."""


class Choice(NamedTuple):
    """A precision and why."""

    precision: Literal["no", "bf16"]
    reason: str


def fast_precision(device: torch.device) -> Choice:
    """Return what a device computes fast in.

    A CPU is measured once for each processor and version of torch. The choice is stored in the user's cache
    folder, so that all later runs make the same one, however busy the machine is. It is fp32 if it cannot be
    stored.
    """
    wanted = os.environ.get(SWITCH)
    if wanted in ("no", "bf16"):
        return Choice("no" if wanted == "no" else "bf16", f"{SWITCH} says so")
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if torch.cuda.get_device_capability(device) >= (8, 0):
            return Choice("bf16", f"{name} has units for it")
        return Choice("no", f"{name} has no units for bf16")
    try:
        path = choice_file()
        stored = _read(path) or _store(path, _measure(device))
    except OSError as error:
        return Choice("no", f"which precision is faster here cannot be stored: {error}")
    return Choice(stored.precision, f"{stored.reason} (stored in {path})")


def choice_file() -> Path:
    """The file of this processor's and this torch's choice; `OSError` if there is no folder for it."""
    key = hashlib.sha256(f"{processor()} {torch.__version__}".encode()).hexdigest()[:16]
    return cache_folder() / f"precision-{key}.json"


def milliseconds(device: torch.device) -> tuple[float, float]:
    """Time a 3 × 3 convolution of 64 channels on 16 images of 32 × 32 pixels, forward and backward, in turns.

    Returns:
        Milliseconds of the fastest one in fp32 and in bf16.
    """
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
    while sum(map(sum, taken)) < 2 * PROBE_SECONDS:
        more = time_calls(calls, warmup=0, repeats=1, synchronize=wait)
        taken = [seconds + new for seconds, new in zip(taken, more, strict=True)]
    fp32, bf16 = (1000 * min(seconds) for seconds in taken)
    return fp32, bf16


def _measure(device: torch.device) -> Choice:
    fp32, bf16 = milliseconds(device)
    reason = f"a convolution took {fp32:.2f} ms in fp32 and {bf16:.2f} ms in bf16 on {date.today()}"
    return Choice("bf16" if fp32 > MIN_SPEEDUP * bf16 else "no", reason)


def _read(path: Path) -> Choice | None:
    """The stored choice; None if there is none, or a damaged one."""
    with contextlib.suppress(ValueError, KeyError, TypeError, FileNotFoundError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["precision"] in ("no", "bf16"):
            return Choice(stored["precision"], str(stored["reason"]))
    return None


def _store(path: Path, choice: Choice) -> Choice:
    """Store a choice and return what is stored: of two processes that measure at once, the first one's."""
    own = path.with_name(f"{path.stem}-{os.getpid()}.json")
    try:
        write_json(own, {**choice._asdict(), "torch": torch.__version__})
        try:
            os.link(own, path)
        except OSError:  # it is there already: another process's, or a damaged one; or there are no links
            if (stored := _read(path)) is not None:
                return stored
            own.replace(path)
    finally:
        own.unlink(missing_ok=True)
    return choice
