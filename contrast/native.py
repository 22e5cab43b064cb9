"""What the contrast computes in C on a CPU: sums over drawn candidates or over all, in one pass.

It is compiled by the machine's own C compiler when it is first used, which takes about a second, and kept in
the user's cache folder. Where there is no compiler, or anything about it fails, `kernel` is None and PyTorch
does the same. `CRDKIT_NATIVE=0` in the environment does without it, too.

Threads are PyTorch's own: the functions of OpenMP are left open in the library, and found in the process.
Others would compete with those, which wait for their next work by running in circles. Where they are not
found, it is compiled anew for one thread.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..common import cache_folder, processor
from .objectives import NegativeSums, Rule

SOURCE = Path(__file__).with_name("native.c")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-fPIC", "-c")
THREADED = (("-fopenmp",), ())
"""What is tried one after the other."""
SWITCH = "CRDKIT_NATIVE"
TYPES = (torch.float32, torch.bfloat16)


class Kernel(NamedTuple):
    """The functions of native.c."""

    gather_noise: Callable[..., int]
    multiply_noise: Callable[..., int]


def has_native_gather() -> bool:
    """Whether drawn negatives are scored by the kernel in C; else PyTorch does it, several times slower."""
    return kernel() is not None


def fits(z: Tensor, candidates: Tensor) -> bool:
    """Whether the kernel takes such anchors and rows: on a CPU, anchors in fp32, rows in fp32 or bf16."""
    return (
        z.device.type == "cpu"
        and z.dtype == torch.float32
        and candidates.dtype in TYPES
        and candidates.is_contiguous()
    )


class _Given(ctypes.Structure):
    """`struct noise`."""

    _fields_ = [
        ("z", ctypes.c_void_p),
        ("bank", ctypes.c_void_p),
        ("bf16", ctypes.c_int),
        *((name, ctypes.c_int64) for name in ("size", "count", "dim")),
        ("scale", ctypes.c_float),
        ("shift", ctypes.c_float),
        ("infonce", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("total", "top", "pull")),
    ]


@cache
def kernel() -> Kernel | None:
    """Those functions; None where they cannot be had."""
    if os.environ.get(SWITCH) == "0":
        return None
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    for threads in THREADED:
        try:
            library: Any = ctypes.CDLL(str(_library(compiler, threads)))
            gather, multiply = library.gather_noise, library.multiply_noise
        except (OSError, subprocess.SubprocessError, AttributeError):
            continue
        given, place, number = ctypes.POINTER(_Given), ctypes.c_void_p, ctypes.c_int
        gather.argtypes = [given, place, ctypes.c_int64, number]
        multiply.argtypes = [given, place, place, place, number]
        gather.restype = multiply.restype = number
        found = Kernel(gather, multiply)
        return found if _is_right(found) else None
    return None


def gathered(
    rule: Rule, z: Tensor, candidates: Tensor, columns: Tensor, *, run: Kernel | None = None
) -> NegativeSums:
    """Return the sums over the negatives that each anchor drew; arguments as of `scores.contrast`.

    Each anchor is summed up in one order, whatever the number of threads.

    Raises:
        IndexError: a column is no row of the candidates.
    """
    run = run or kernel()
    assert run is not None
    found, z, columns = NegativeSums(rule, z), z.detach().contiguous(), columns.contiguous()
    given = _given(found, z, candidates)
    if run.gather_noise(given, columns.data_ptr(), columns.shape[1], torch.get_num_threads()):
        raise IndexError(f"columns must be rows of the candidates, 0 … {len(candidates) - 1}")
    return found


def multiplied(
    rule: Rule,
    z: Tensor,
    candidates: Tensor,
    anchor_ids: Tensor | None,
    candidate_ids: Tensor | None,
    *,
    weights: Tensor | None = None,
    run: Kernel | None = None,
) -> NegativeSums:
    """Return the sums over all candidates for each anchor, by NCE; arguments as of `scores.contrast`.

    Each anchor is summed up in one order, whatever the number of threads.

    Args:
        weights: (N, B), gets the weights σ(ℓ) of all pairs.

    Raises:
        MemoryError: there is no room for a second copy of the anchors.
    """
    run = run or kernel()
    assert run is not None and rule.objective == "nce"
    found, z = NegativeSums(rule, z), z.detach().contiguous()
    owners = [None if x is None else x.to(torch.int64).contiguous() for x in (anchor_ids, candidate_ids)]
    places = [None if x is None else x.data_ptr() for x in (*owners, weights)]
    if run.multiply_noise(_given(found, z, candidates), *places, torch.get_num_threads()):
        raise MemoryError(f"no memory for {len(z)} anchors of {z.shape[1]} components")
    return found


def _given(found: NegativeSums, z: Tensor, candidates: Tensor) -> _Given:
    rule = found.rule
    return _Given(
        z.data_ptr(),
        candidates.data_ptr(),
        candidates.dtype == torch.bfloat16,
        len(candidates),
        *z.shape,
        1 / rule.temperature,
        float(rule.shift),
        rule.objective == "infonce",
        found.total.data_ptr(),
        found.top.data_ptr(),
        found.pull.data_ptr(),
    )


def _library(compiler: str, threads: tuple[str, ...]) -> Path:
    """The compiled file, in a folder that only this user writes; made if it is not there."""
    words = (compiler, *FLAGS, *threads)
    made_of = (SOURCE.read_bytes(), " ".join(words).encode(), processor().encode())
    name = f"noise-{hashlib.sha256(b'|'.join(made_of)).hexdigest()[:16]}.so"
    folder = cache_folder()
    if not (folder / name).exists():
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            part, whole = Path(beside, "noise.o"), Path(beside, name)
            for command in ([*words, SOURCE, "-o", part], [compiler, "-shared", part, "-o", whole, "-lm"]):
                subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=60)
            whole.replace(folder / name)  # at once: another process may do the same
    return folder / name


def _is_right(run: Kernel) -> bool:
    """Whether it gives what PyTorch gives, on a few rows."""
    generator = torch.Generator().manual_seed(0)
    z, candidates = (torch.randn(n, 24, generator=generator) for n in (3, 40))
    columns = torch.randint(40, (3, 300), generator=generator)
    for rule in (Rule("nce", 0.5, 1.5), Rule("infonce", 0.5)):
        found = gathered(rule, z, candidates, columns, run=run)
        if not _agree(found, _expected(rule, z, candidates[columns])):
            return False
    rule = Rule("nce", 0.5, 1.5)
    found = multiplied(rule, z, candidates, None, None, run=run)
    return _agree(found, _expected(rule, z, candidates.expand(len(z), *candidates.shape)))


def _expected(rule: Rule, z: Tensor, rows: Tensor) -> NegativeSums:
    """Return PyTorch's sums over rows (B, K, d)."""
    found = NegativeSums(rule, z)
    weights = found.weigh(torch.einsum("bd,bkd->bk", z, rows))
    found.pull += torch.einsum("bk,bkd->bd", weights, rows)
    return found


def _agree(one: NegativeSums, other: NegativeSums) -> bool:
    pairs = (one.total, other.total), (one.pull, other.pull)
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)
