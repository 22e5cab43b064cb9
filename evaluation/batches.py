"""What every judge of a network does: read the batches, run it in eval mode, add up over the ranks."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypedDict, TypeVar, Unpack

import torch
from torch import Tensor, nn

from ..data import rank_and_ranks, read_in_order
from ..models import evaluating

T = TypeVar("T")


@contextmanager
def judging(*networks: Any) -> Iterator[None]:
    """Inside, the modules among `networks` are in eval mode and nothing builds a graph."""
    with evaluating(*(n for n in networks if isinstance(n, nn.Module))), torch.no_grad():
        yield


class Reading(TypedDict, total=False):
    """How a judge reads its batches: from a loader or any iterable of batches; or from a data set (`__len__`
    and `__getitem__`, other than a list), in its order. A batch is a dict with "label"."""

    modality: str | None
    """Name of the entry that the network takes, such as "rgb"; None for the whole batch."""
    device: torch.device | str | None
    """Where batches are moved; None leaves them, or moves them to a module's parameters."""
    batch_size: int
    """Of a data set; 128 if absent."""
    num_workers: int
    """Processes that read a data set, on each rank."""
    sharded: bool
    """Each rank reads its own part, of a data set its share of the batches, and all get the result of all."""


def read_batches(
    source: Iterable[Mapping[str, Tensor]] | Any,
    network: Any,
    names: Iterable[str | None],
    **how: Unpack[Reading],
) -> Iterator[Mapping[str, Tensor]]:
    """The batches of a source, on the device that is named or else on that of the network's parameters.

    Raises:
        KeyError: for a batch without one of `names`; what it has is listed.
        ValueError: for a batch size below 1.
    """
    device = how.get("device")
    if device is None and isinstance(network, nn.Module):
        device = next((parameter.device for parameter in network.parameters()), None)
    batches = source
    if is_dataset(source):
        batches = read_in_order(
            source,
            how.get("batch_size", 128),
            num_workers=how.get("num_workers", 0),
            sharded=how.get("sharded", False),
        )
    for batch in batches:
        moved = batch
        if device is not None:
            moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        for name in names:
            if name is not None and name not in moved:
                raise KeyError(f"a batch has no {name!r}, only {', '.join(moved)}")
        yield moved


def is_dataset(source: Any) -> bool:
    """Whether a source is read by rows: not a loader, an iterable, or a list of batches."""
    return (
        hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, list | tuple)
    )


def ranks() -> int:
    """The processes of torch.distributed; 1 without a process group."""
    return rank_and_ranks()[1]


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of every rank's CPU tensor, on every rank; without process group the tensor itself."""
    if ranks() == 1:
        return tensor
    dist = torch.distributed
    total = tensor.to("cuda" if dist.get_backend() == "nccl" else "cpu", copy=True)
    dist.all_reduce(total)
    return total.cpu()


def in_turn(batches: list[Tensor]) -> list[Tensor]:
    """The batches of all ranks in the data's order, of which each rank has read every so-many-th."""
    if ranks() == 1:
        return batches
    shares: list[list[Tensor]] = [[] for _ in range(ranks())]
    torch.distributed.all_gather_object(shares, batches)
    return [share[turn] for turn in range(len(shares[0])) for share in shares if turn < len(share)]


def on_main(compute: Callable[[], T]) -> T:
    """What the main rank computes, on every rank; the others wait for it, be it hours.

    Raises:
        RuntimeError: on the others, if the main rank failed.
    """
    dist = torch.distributed
    if ranks() == 1:
        return compute()
    group: Any = dist.new_group(backend="gloo", timeout=timedelta(days=7))
    held: list[Any] = [None, False]
    trouble: Exception | None = None
    if dist.get_rank() == 0:
        try:
            held = [compute(), True]
        except Exception as error:
            trouble = error
    dist.broadcast_object_list(held, src=0, group=group)
    dist.destroy_process_group(group)
    if trouble is not None:
        raise trouble
    if not held[1]:
        raise RuntimeError("the main process could not compute what this one waits for")
    result: T = held[0]
    return result
