"""The teachers of a transfer: frozen networks, each of which sees its own modality of a batch."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.utils._pytree import tree_map

from ..common import UserError
from ..data import Batch
from ..models import Frozen, Outputs


@dataclass(frozen=True)
class Teacher:
    """A network to learn from."""

    network: nn.Module
    """A modality in its own units, (B, C, H, W), to `Outputs`: a network of one's own normalizes inside."""
    modality: str = "rgb"
    """What it sees of a batch."""
    name: str = "teacher"
    """For messages and tables."""

    @cached_property
    def compiled(self) -> "Compiled":
        """The network, compiled; freed with this teacher."""
        return Compiled(self.network)


def as_teacher(given: Teacher | nn.Module, number: int) -> Teacher:
    """A network of one's own as a teacher, called by its class and number."""
    return given if isinstance(given, Teacher) else Teacher(given, name=f"{type(given).__name__}-{number}")


Targets = Callable[[Batch], tuple[Outputs, ...]]
"""What the teachers say of a batch: live (`TeacherTargets`), cached (`cached_targets`), or nothing."""


def no_targets(batch: Batch) -> tuple[Outputs, ...]:
    """What nobody says."""
    return ()


class TeacherTargets(nn.Module):
    """What the teachers say of a batch: a batch to a tuple of `Outputs`, one for each teacher, without
    gradients.

    Teachers of one architecture and modality may run as one batched call: their weights are stacked, and
    `vmap` turns N convolutions into one grouped convolution. That is for devices where the launch of a kernel
    costs more than its work; on a CPU the loop is the faster one (benchmarks/ensemble.py).

    Args:
        teachers: their networks are frozen, and kept as they are.
        batched: whether those of one architecture run together; None: on a GPU, unless they are compiled.
        compiled: whether each runs as `Compiled`.
    """

    def __init__(
        self, teachers: Sequence[Teacher], *, batched: bool | None = None, compiled: bool = False
    ) -> None:
        super().__init__()
        if not teachers:
            raise UserError("a transfer needs at least one teacher")
        self.batched = False if compiled and batched is None else batched
        self.modalities = tuple(teacher.modality for teacher in teachers)
        self.networks = nn.ModuleList(Frozen(teacher.network) for teacher in teachers)
        self._fast = [teacher.compiled for teacher in teachers] if compiled else None
        self._stacks: list[tuple[list[int], _Stack]] | None = None

    def __len__(self) -> int:
        return len(self.networks)

    @torch.no_grad()
    def forward(self, batch: Batch) -> tuple[Outputs, ...]:
        """Every teacher's `Outputs` for its modality of the batch, in their order."""
        device_type = batch[self.modalities[0]].device.type
        if not (device_type != "cpu" if self.batched is None else self.batched):
            calls: Any = self._fast or self.networks
            pairs = zip(calls, self.modalities, strict=True)
            return tuple(network(batch[modality]) for network, modality in pairs)
        if self._stacks is None:
            networks = [frozen.module for frozen in self.networks if isinstance(frozen, Frozen)]
            groups = alike(networks, self.modalities)
            self._stacks = [(group, _Stack([self.networks[i] for i in group])) for group in groups]
        found: dict[int, Outputs] = {}
        for numbers, stack in self._stacks:
            found.update(zip(numbers, stack(batch[self.modalities[numbers[0]]]), strict=True))
        return tuple(found[number] for number in range(len(self.networks)))


def alike(networks: Sequence[nn.Module], modalities: Sequence[str]) -> list[list[int]]:
    """The numbers of networks that differ in nothing but their weights, group by group."""
    groups: dict[Any, list[int]] = {}
    for number, (network, modality) in enumerate(zip(networks, modalities, strict=True)):
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in network.state_dict().items())
        groups.setdefault((modality, type(network), str(network), shapes), []).append(number)
    return list(groups.values())


class Compiled:
    """A frozen network as TorchInductor makes it: weights cast once, batch norms folded, steps fused.

    Batches of another shape than the first, such as the last of an epoch, go through the network itself. It
    is compiled for the autocast that its first call is made under.

    Args:
        network: in eval mode; its weights may not change any more.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network, self.shape = network, torch.Size()
        self._call: Callable[[Tensor], Outputs] | None = None

    def __call__(self, images: Tensor) -> Outputs:
        """Return the network's outputs for images (B, C, H, W)."""
        self.shape = self.shape or images.shape
        if images.shape != self.shape:
            outputs: Outputs = self.network(images)
            return outputs
        if self._call is None:
            compiled: Any = torch.compile(self.network, dynamic=False, options={"freezing": True})
            self._call = compiled
        return self._call(images)


class _Stack:
    """Networks of one architecture as one function with stacked weights."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks
        if len(networks) > 1:
            # Contiguous, not channels last, for which vmap has no batch norm of cuDNN's.
            plain = partial(torch.clone, memory_format=torch.contiguous_format)
            self.state = tree_map(plain, stack_module_state(list(networks)))
            # A copy of one of them, without its weights, says how the stacked ones are used.
            self.plan = copy.deepcopy(networks[0]).to("meta").eval()

    def __call__(self, images: Tensor) -> tuple[Outputs, ...]:
        if len(self.networks) == 1:
            return (self.networks[0](images),)
        images = images.contiguous()

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Outputs:
            return functional_call(self.plan, (parameters, buffers), (images,))

        outputs: Outputs = torch.vmap(one)(*self.state)
        return tuple(_of_teacher(outputs, number) for number in range(len(self.networks)))


def _of_teacher(outputs: Outputs, number: int) -> Outputs:
    return Outputs(
        None if outputs.logits is None else outputs.logits[number],
        tuple(x[number] for x in outputs.maps),
        outputs.embedding[number],
        tuple(x[number] for x in outputs.preactivations),
    )
