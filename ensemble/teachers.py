"""Several frozen networks that see the same images, those of one architecture in one call."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from ..models import Frozen, Outputs


class Teachers(nn.Module):
    """Frozen networks over one batch.

    Members of one architecture may run as one batched call: their weights are stacked and `vmap` turns N
    convolutions into one grouped convolution. That is for devices where the launch of a kernel costs more
    than its work; on a CPU the loop is the faster one (benchmarks/ensemble.py).

    Args:
        networks: each returns `Outputs`; they are frozen, and kept as they are.
        batched: whether members of one architecture run together; None: on a GPU.
    """

    def __init__(self, networks: Sequence[nn.Module], *, batched: bool | None = None) -> None:
        super().__init__()
        if not networks:
            raise ValueError("an ensemble needs at least one teacher")
        self.batched = batched
        self.networks = nn.ModuleList(Frozen(network) for network in networks)
        self._stacks: list[tuple[list[int], _Stack]] | None = None

    def __len__(self) -> int:
        return len(self.networks)

    @torch.no_grad()
    def forward(self, view: Tensor) -> tuple[Outputs, ...]:
        """Every teacher's `Outputs` for a view (B, C, H, W), in their order."""
        batched = view.device.type != "cpu" if self.batched is None else self.batched
        if not batched:
            return tuple(network(view) for network in self.networks)
        if self._stacks is None:
            networks = [frozen.module for frozen in self.networks if isinstance(frozen, Frozen)]
            self._stacks = [(g, _Stack([networks[i] for i in g])) for g in alike(networks)]
        found: dict[int, Outputs] = {}
        for numbers, stack in self._stacks:
            found.update(zip(numbers, stack(view), strict=True))
        return tuple(found[number] for number in range(len(self.networks)))


def alike(networks: Sequence[nn.Module]) -> list[list[int]]:
    """The numbers of networks that differ in nothing but their weights, group by group."""
    groups: dict[Any, list[int]] = {}
    for number, network in enumerate(networks):
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in network.state_dict().items())
        groups.setdefault((type(network), str(network), shapes), []).append(number)
    return list(groups.values())


class _Stack:
    """Networks of one architecture as one function with stacked weights."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks
        if len(networks) > 1:
            self.state = stack_module_state(list(networks))
            # A copy of one of them, without its weights, says how the stacked ones are used.
            self.plan = copy.deepcopy(networks[0]).to("meta").eval()

    def __call__(self, view: Tensor) -> tuple[Outputs, ...]:
        if len(self.networks) == 1:
            return (self.networks[0](view),)

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Outputs:
            return functional_call(self.plan, (parameters, buffers), (view,))

        outputs: Outputs = torch.vmap(one)(*self.state)
        return tuple(_member(outputs, number) for number in range(len(self.networks)))


def _member(outputs: Outputs, number: int) -> Outputs:
    return Outputs(
        None if outputs.logits is None else outputs.logits[number],
        tuple(x[number] for x in outputs.maps),
        outputs.embedding[number],
        tuple(x[number] for x in outputs.preactivations),
    )
