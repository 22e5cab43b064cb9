"""Checks of arguments, with the value in the message."""

import math

import torch
from torch import Tensor

from ..common import UserError, require_memory


def check_positive(**values: float) -> None:
    """Raise a `UserError` for the first value that is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{name} must be positive, got {value}")


def check_momentum(momentum: float) -> None:
    """Raise a `UserError` for a value that is not in [0, 1)."""
    if not 0 <= momentum < 1:
        raise UserError(f"momentum must be in [0, 1), got {momentum}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a `UserError` that lists the choices."""
    if value not in choices:
        raise UserError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_room(what: str, *shape: int, dtype: torch.dtype, device: object = None, remedy: str) -> None:
    """Raise a `UserError` with the figures for a tensor that is larger than the free memory.

    Args:
        what: it is, for the message, which has the shape, too.
        device: a `torch.device` or its name; None for the CPU.
        remedy: what to lower.
    """
    where, free = torch.device(str(device or "cpu")), None
    size = math.prod(shape) * dtype.itemsize
    if where.type == "cuda" and size > 2**30:  # in most steps the question would take longer than the draw
        free = torch.cuda.mem_get_info(where)[0] + torch.cuda.memory_reserved(where)
    elif where.type not in ("cpu", "cuda"):
        return
    if where.type == "cpu" or free is not None:
        require_memory(size, f"{what}, {' × '.join(map(str, shape))},", remedy, free=free)


def check_rows(name: str, rows: Tensor, num_samples: int | None) -> None:
    """Raise where rows are no int64 or, on a CPU, negative or not below `num_samples`, where it is known."""
    if rows.dtype != torch.int64:
        raise ValueError(f"{name} must be int64, got {rows.dtype}")
    if rows.device.type == "cpu" and rows.numel():
        low, high = (int(x) for x in rows.aminmax())
        if num_samples is None:
            if low < 0:
                raise IndexError(f"{name} must not be negative, got {low}")
        elif low < 0 or high >= num_samples:
            bad = low if low < 0 else high
            raise IndexError(f"{name} must be in [0, {num_samples}), the number of samples, got {bad}")


def check_negatives(rows: Tensor, batch_size: int, num_samples: int) -> int:
    """K of negatives' rows, (B, K) in [0, M); raise where they are something else."""
    check_rows("negative_index", rows, num_samples)
    shape = tuple(rows.shape)
    if len(shape) != 2 or shape[0] != batch_size or shape[1] == 0:
        raise ValueError(f"negative_index must be ({batch_size}, K) with K > 0, got {shape}")
    return shape[1]


def check_pair(z_s: Tensor, z_t: Tensor, index: Tensor, num_samples: int) -> None:
    """Raise where the two sides and the index do not describe one batch of vectors."""
    if z_s.dim() != 2 or z_s.shape != z_t.shape or index.shape != z_s.shape[:1] or len(index) == 0:
        shapes = ", ".join(str(tuple(x.shape)) for x in (z_s, z_t, index))
        raise ValueError(f"z_s, z_t and index must be (B, d), (B, d) and (B,) with B > 0, got {shapes}")
    check_rows("index", index, num_samples)


def check_finite(index: Tensor, **sides: Tensor) -> None:
    """On a CPU, raise where a sample's vectors hold NaN or infinity, naming it; a GPU would have to wait.

    Args:
        index: the samples' rows, (B,).
        sides: their vectors or maps by name, (B, ...).
    """
    if index.device.type != "cpu":
        return
    for side, z in sides.items():
        if z.isfinite().all():
            continue
        bad = (~z.isfinite()).flatten(1).any(dim=1).nonzero().flatten().tolist()
        listed = ", ".join(f"row {row} of the batch (index {int(index[row])})" for row in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise UserError(
            f"the {side}'s features are NaN or infinite in {listed}{more}; the memory is unchanged. Leave "
            "such samples out, or lower the learning rate if the network itself overflows"
        )


def check_maps(index: Tensor, *, maps: tuple[Tensor, ...] = (), vectors: tuple[Tensor, ...] = ()) -> None:
    """Raise where maps (B, d, H, W), vectors (B, d) and index (B,) do not describe one batch."""
    tensors = (*maps, *vectors)
    batch = {(len(x), *x.shape[1:2]) for x in tensors}
    right = all(x.dim() == 4 for x in maps) and all(x.dim() == 2 for x in vectors) and len(batch) == 1
    if not right or index.shape != tensors[0].shape[:1] or len(index) == 0:
        shapes = ", ".join(str(tuple(x.shape)) for x in (*tensors, index))
        raise ValueError(
            f"maps must be (B, d, H, W), vectors (B, d) and index (B,), of one B > 0 and d, got {shapes}"
        )
    check_rows("index", index, None)
