"""What the processes of one training tell each other, beside the gradients."""

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn

from .errors import RanksError
from .files import digest, split_by_rank

SHOWN = 4


class Peers:
    """Small messages between the ranks, over CPU tensors so that no message waits for a GPU.

    With one process each call returns what it was given. All ranks make and close one together.

    Args:
        patient: wait for the others as long as it takes, be it hours: for what one rank does alone.
    """

    def __init__(self, accelerator: Accelerator, *, patient: bool = False) -> None:
        self.rank, self.size = accelerator.process_index, accelerator.num_processes
        self.is_main = self.rank == 0
        self.group: Any = None
        if self.size > 1 and (patient or dist.get_backend() != "gloo"):
            timeout = timedelta(days=7) if patient else None
            self.group = dist.new_group(backend="gloo", timeout=timeout)

    def largest(self, *values: int) -> list[int]:
        """The largest of each value over the ranks."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self.group)
        return tensor.tolist()

    def broadcast(self, value: Any) -> Any:
        """The main process's JSON value; the group is closed."""
        if self.size == 1:
            return value
        held = [json.dumps(value) if self.is_main else None]
        dist.broadcast_object_list(held, src=0, group=self.group)
        self.close()
        return json.loads(held[0] or "null")

    def gather(self, tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """The tensors of every rank, on the CPU; names, shapes and types must be the same everywhere."""
        local = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        if self.size == 1:
            return [local]
        gathered: list[dict[str, Tensor]] = [{} for _ in range(self.size)]
        for name, tensor in local.items():
            parts = [torch.empty_like(tensor) for _ in range(self.size)]
            dist.all_gather(parts, tensor, group=self.group)
            for rank, part in enumerate(parts):
                gathered[rank][name] = part
        return gathered

    def share_state(self, module: nn.Module) -> None:
        """Overwrite the module's tensors with the main process's, but for those of a rank alone."""
        self.share(split_by_rank(module.state_dict())[0].values())

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with the main process's; the same number and shapes everywhere."""
        if self.size == 1:
            return
        for tensor in tensors:
            copy = tensor.detach().cpu()
            dist.broadcast(copy, src=0, group=self.group)
            tensor.copy_(copy)

    def agree(self, finished: bool, folder: Path) -> bool:
        """Whether a training is finished; `RanksError` if not all processes see that."""
        some, lacking = self.largest(finished, not finished)
        if some and lacking:
            raise RanksError(
                f"not all processes see that {folder} is finished: all nodes must share its storage"
            )
        return finished

    def require_same(self, digests: Mapping[str, str], what: str) -> None:
        """Raise `RanksError`, on every rank, naming the digests that are not the main process's on all.

        Args:
            digests: SHA-256 by name, as of `digests_of`.
            what: is compared: "teacher after its training".
        """
        if self.size == 1:
            return
        most, fewest = self.largest(len(digests), -len(digests))
        if most != -fewest:
            raise RanksError(f"{what}: the processes hold networks of {-fewest} to {most} tensors")
        keys = torch.tensor([int(value[:15], 16) for value in digests.values()], dtype=torch.int64)
        ranks = [rank["keys"] for rank in self.gather({"keys": keys})]
        same = torch.stack([keys == ranks[0] for keys in ranks]).all(0).tolist()
        differing = [name for name, is_same in zip(digests, same, strict=True) if not is_same]
        if differing:
            more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
            raise RanksError(
                f"{what}: {', '.join(differing[:SHOWN])}{more} differ between the {self.size} processes, "
                "which must hold the same bits"
            )

    def close(self) -> None:
        """Free the group that was made for the messages."""
        if self.group is not None:
            dist.destroy_process_group(self.group)


def digests_of(module: nn.Module | None, name: str) -> dict[str, str]:
    """SHA-256 of each tensor in a module's state dict that all ranks hold, under `name`; {} for None."""
    state = {} if module is None else module.state_dict()
    tensors = {key: x for key, x in state.items() if isinstance(x, Tensor)}
    return {f"{name}.{key}": digest({"": x}) for key, x in split_by_rank(tensors)[0].items()}
