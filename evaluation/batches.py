"""What every judge of a network does: read the batches, run it in eval mode, add up over the ranks."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def evaluating(*networks: Any) -> Iterator[None]:
    """Inside, the modules among `networks` are in eval mode and nothing builds a graph.

    Every part gets its own mode back, also after an error: a network whose head alone trained leaves as it
    came.
    """
    modules = [network for network in networks if isinstance(network, nn.Module)]
    training = {part: part.training for module in modules for part in module.modules()}
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in training.items():
            part.training = mode


def device_of(network: Any) -> torch.device | None:
    """Where a module's parameters are; None for another callable, or a module without parameters."""
    if not isinstance(network, nn.Module):
        return None
    return next((parameter.device for parameter in network.parameters()), None)


def read_batches(
    source: Iterable[Mapping[str, Tensor]] | Any,
    batch_size: int,
    names: Iterable[str],
    device: torch.device | str | None,
) -> Iterator[Mapping[str, Tensor]]:
    """The batches of a loader or an iterable, or of a data set in its order, moved to `device` (None: left).

    Raises:
        KeyError: for a batch without one of `names`; what it has is listed.
        ValueError: for a batch size below 1.
    """
    for batch in _batches(source, batch_size):
        moved = batch if device is None else {name: value.to(device) for name, value in batch.items()}
        for name in names:
            if name not in moved:
                raise KeyError(f"a batch has no {name!r}, only {', '.join(moved)}")
        yield moved


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of every rank's CPU tensor, on every rank; without process group the tensor itself."""
    dist = torch.distributed
    if not (dist.is_available() and dist.is_initialized()):
        return tensor
    total = tensor.to("cuda" if dist.get_backend() == "nccl" else "cpu", copy=True)
    dist.all_reduce(total)
    return total.cpu()


def _batches(source: Any, batch_size: int) -> Iterator[Mapping[str, Tensor]]:
    is_dataset = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    if not is_dataset or isinstance(source, list | tuple):
        yield from source
        return
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    for start in range(0, len(source), batch_size):
        rows = list(range(start, min(start + batch_size, len(source))))
        got = source.__getitems__(rows) if hasattr(source, "__getitems__") else [source[row] for row in rows]
        if isinstance(got, Mapping):
            yield got
        else:
            yield {key: torch.stack([sample[key] for sample in got]) for key in got[0]}
