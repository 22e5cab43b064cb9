"""What the contrast computes in C on a CPU: the noise of drawn rows or of all, in one pass over them.

It is compiled by the machine's own C compiler when it is first used, which takes about a second, and kept in
the user's cache folder. Where there is no compiler, or anything about it fails, `kernel` is None and PyTorch
does the same. `CRDKIT_NATIVE=0` in the environment does without it, too.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ..common import cache_folder, processor
from .objectives import Noise, Rule

SOURCE = Path(__file__).with_name("native.c")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-shared", "-fPIC")
SWITCH = "CRDKIT_NATIVE"
Result = TypeVar("Result")
TYPES = (torch.float32, torch.bfloat16)


class Kernel(NamedTuple):
    """The functions of native.c."""

    gather_noise: Callable[..., int]
    multiply_noise: Callable[..., int]


def has_native_gather() -> bool:
    """Whether drawn negatives are scored by the kernel in C; else PyTorch does it, several times slower."""
    return kernel() is not None


def fits(z: Tensor, noise: Tensor) -> bool:
    """Whether the kernel takes such anchors and rows: on a CPU, anchors in fp32, rows in fp32 or bf16."""
    return (
        z.device.type == "cpu" and z.dtype == torch.float32 and noise.dtype in TYPES and noise.is_contiguous()
    )


@cache
def kernel() -> Kernel | None:
    """Those functions; None where they cannot be had."""
    if os.environ.get(SWITCH) == "0":
        return None
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    try:
        library: Any = ctypes.CDLL(str(_library(compiler)))
        gather, multiply = library.gather_noise, library.multiply_noise
    except (OSError, subprocess.SubprocessError, AttributeError):
        return None
    number, long, real, place = ctypes.c_int, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
    gather.argtypes = [
        place, place, number, long, place, long, long, long, long, real, real, number, place, place, place
    ]  # fmt: skip
    multiply.argtypes = [
        place, place, number, long, long, long, long, long, real, real, place, place, place, place, place
    ]  # fmt: skip
    gather.restype = multiply.restype = number
    found = Kernel(gather, multiply)
    return found if _is_right(found) else None


def gathered(rule: Rule, z: Tensor, noise: Tensor, columns: Tensor, *, run: Kernel | None = None) -> Noise:
    """The noise of every anchor from the rows that it drew; arguments as of `scores.contrast`.

    Each anchor is summed up in one order, whatever the number of threads.

    Raises:
        IndexError: a column is no row of the noise.
    """
    run = run or kernel()
    assert run is not None
    found, infonce = Noise(rule, z), rule.objective == "infonce"
    z, columns = z.detach().contiguous(), columns.contiguous()
    (count, draws), dim = columns.shape, z.shape[1]

    def part(first: int, last: int) -> int:
        return run.gather_noise(
            z.data_ptr(), noise.data_ptr(), int(noise.dtype == torch.bfloat16), len(noise),
            columns.data_ptr(), first, last, draws, dim, 1 / rule.temperature, float(rule.shift),
            int(infonce), found.total.data_ptr(), found.top.data_ptr(), found.pull.data_ptr(),
        )  # fmt: skip

    if any(_shared_out(part, count)):
        raise IndexError(f"columns must be rows of the noise, 0 … {len(noise) - 1}")
    return found


def multiplied(
    rule: Rule,
    z: Tensor,
    noise: Tensor,
    owner: Tensor | None,
    noise_owner: Tensor | None,
    *,
    weights: Tensor | None = None,
    run: Kernel | None = None,
) -> Noise:
    """The noise of every anchor from all rows, by NCE; arguments as of `scores.contrast`.

    Each anchor is summed up in one order, whatever the number of threads.

    Args:
        weights: (N, B), gets the weights σ(ℓ) of all pairs.

    Raises:
        MemoryError: there is no room for a second copy of the anchors.
    """
    run = run or kernel()
    assert run is not None and rule.objective == "nce"
    found, z = Noise(rule, z), z.detach().contiguous()
    owners = [None if x is None else x.to(torch.int64).contiguous() for x in (owner, noise_owner)]
    places = [None if x is None else x.data_ptr() for x in owners]

    def part(first: int, last: int) -> int:
        return run.multiply_noise(
            z.data_ptr(), noise.data_ptr(), int(noise.dtype == torch.bfloat16), len(noise), len(z),
            first, last, z.shape[1], 1 / rule.temperature, float(rule.shift), *places,
            found.total.data_ptr(), found.pull.data_ptr(), None if weights is None else weights.data_ptr(),
        )  # fmt: skip

    if any(_shared_out(part, len(z))):
        raise MemoryError(f"no memory for {len(z)} anchors of {z.shape[1]} components")
    return found


def _shared_out(part: Callable[[int, int], Result], count: int) -> list[Result]:
    """A part of `count` rows for each of torch's threads."""
    threads = max(1, min(torch.get_num_threads(), count))
    if threads == 1:
        return [part(0, count)]
    edges = [round(count * i / threads) for i in range(threads + 1)]
    return list(_threads(threads).map(part, edges[:-1], edges[1:]))


@cache
def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix="crdkit-noise")


def _library(compiler: str) -> Path:
    """The compiled file, in a folder that only this user writes; made if it is not there."""
    made_of = (SOURCE.read_bytes(), " ".join((compiler, *FLAGS)).encode(), processor().encode())
    name = f"noise-{hashlib.sha256(b'|'.join(made_of)).hexdigest()[:16]}.so"
    folder = cache_folder()
    if not (folder / name).exists():
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            made = Path(beside, name)
            command = [compiler, *FLAGS, str(SOURCE), "-o", str(made), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            made.replace(folder / name)  # at once: another process may do the same
    return folder / name


def _is_right(run: Kernel) -> bool:
    """Whether it gives what PyTorch gives, on a few rows."""
    generator = torch.Generator().manual_seed(0)
    z, noise = (torch.randn(n, 24, generator=generator) for n in (3, 40))
    columns = torch.randint(40, (3, 300), generator=generator)
    for rule in (Rule("nce", 0.5, 1.5), Rule("infonce", 0.5)):
        found = gathered(rule, z, noise, columns, run=run)
        if not _agree(found, _expected(rule, z, noise[columns])):
            return False
    rule = Rule("nce", 0.5, 1.5)
    found = multiplied(rule, z, noise, None, None, run=run)
    return _agree(found, _expected(rule, z, noise.expand(len(z), *noise.shape)))


def _expected(rule: Rule, z: Tensor, rows: Tensor) -> Noise:
    """PyTorch's noise of rows (B, K, d)."""
    found = Noise(rule, z)
    weights = found.weigh(torch.einsum("bd,bkd->bk", z, rows))
    found.pull += torch.einsum("bk,bkd->bd", weights, rows)
    return found


def _agree(one: Noise, other: Noise) -> bool:
    pairs = (one.total, other.total), (one.pull, other.pull)
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)
