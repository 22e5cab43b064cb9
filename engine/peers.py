"""What the processes of one training tell each other, beside the gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn


class Peers:
    """Small messages between the ranks, over CPU tensors so that no message waits for a GPU.

    With one process each call returns what it was given.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.rank, self.size = accelerator.process_index, accelerator.num_processes
        self.is_main = self.rank == 0
        self.group: Any = None
        if self.size > 1 and dist.get_backend() != "gloo":
            self.group = dist.new_group(backend="gloo")

    def largest(self, *values: int) -> list[int]:
        """The largest of each value over the ranks."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self.group)
        return tensor.tolist()

    def from_main(self, value: int) -> int:
        """The main process's value."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.int64)
        dist.broadcast(tensor, src=0, group=self.group)
        return int(tensor.item())

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
        if self.size == 1:
            return
        for tensor in module.state_dict().values():
            copy = tensor.detach().cpu()
            dist.broadcast(copy, src=0, group=self.group)
            tensor.copy_(copy)

    def close(self) -> None:
        """Free the group that was made for the messages."""
        if self.group is not None:
            dist.destroy_process_group(self.group)
