"""What the processes of one training tell each other, beside the gradients."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn


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
        """Overwrite the module's tensors with the main process's."""
        self.share(module.state_dict().values())

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with the main process's; the same number and shapes everywhere."""
        if self.size == 1:
            return
        for tensor in tensors:
            copy = tensor.detach().cpu()
            dist.broadcast(copy, src=0, group=self.group)
            tensor.copy_(copy)

    def close(self) -> None:
        """Free the group that was made for the messages."""
        if self.group is not None:
            dist.destroy_process_group(self.group)
