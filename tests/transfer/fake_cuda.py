"""Steps on tensors that say they are on a GPU: what would be on the wrong device, or wait for the host."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from crdkit.data import read_rows
from crdkit.engine import Task, weighted_sum

CUDA = torch.device("cuda", 0)


class Transfers(TorchDispatchMode):
    """Notes each copy between the host and the GPU, which waits for either."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.ops.aten._local_scalar_dense.default and args[0].device.type == "cpu":
            return args[0].dtype.is_floating_point * 0.0  # the host asks itself
        if function is torch.ops.aten.is_pinned.default:
            return False
        if function is torch.ops.aten._pin_memory.default:  # of a fake tensor there is nothing to pin
            return args[0]
        result = function(*args, **kwargs)
        if kwargs.get("non_blocking"):
            return result
        if function.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            source = args[0] if function.overloadpacket is torch.ops.aten._to_copy else args[1]
            if isinstance(result, Tensor) and source.device.type != result.device.type:
                self.found.append(f"{source.device.type} -> {result.device.type} {tuple(source.shape)}")
        return result


class FakeGPU:
    """Fake tensors on a GPU in the place of real ones, the same for the same."""

    def __init__(self) -> None:
        self.mode = FakeTensorMode()
        self.made: dict[int, Tensor] = {}
        self.kept: list[Tensor] = []  # an id is a tensor's as long as it lives

    def tensor(self, real: Tensor) -> Tensor:
        if id(real) not in self.made:
            self.kept.append(real)
            fake: Tensor = FakeTensor(self.mode, real.detach().to("meta"), CUDA)
            if isinstance(real, nn.Parameter):
                fake = nn.Parameter(fake, requires_grad=real.requires_grad)
            self.made[id(real)] = fake
        return self.made[id(real)]

    def move(self, modules: Iterable[Any]) -> None:
        for module in modules:
            for part in module.modules() if isinstance(module, nn.Module) else ():
                for tensors in (part._parameters, part._buffers):
                    for name, value in tensors.items():
                        if value is not None:
                            tensors[name] = self.tensor(value)


def fake_step(task: Task, dataset: Any, batch_size: int, accelerator: Any, *, what: str) -> list[str]:
    """As `crdkit.transfer.dry_run.dry_step`, of a copy of the task on a GPU that is none.

    Returns:
        The copies between the host and the GPU in the step.

    Raises:
        Exceptions of `FakeTensorMode`: for a tensor on the wrong device, or an operation whose shape depends
            on values, which the host would have to wait for.
    """
    real = read_rows(dataset, range(4))
    task = copy.deepcopy(task)
    gpu = FakeGPU()
    for part in task.memory.modules() if task.memory is not None else ():
        if hasattr(part, "_known"):
            part._known = True  # CRD's constant is asked for once, after the first batch
    inputs = vars(task.inputs).values() if hasattr(task, "inputs") else ()
    gpu.move([*vars(task).values(), *inputs, *task.frozen])
    batch = {name: gpu.tensor(value) for name, value in real.items()}
    task.module.train()
    with gpu.mode, Transfers() as transfers:
        terms, extra = task.terms(task.module, batch)
        loss = weighted_sum(terms, task.weights_at(0))
        assert loss.device == CUDA, what
        # No backward: autograd's engine asks CUDA itself for a context. What it would run is torch's own, but
        # for the autograd functions of ours, which are tested on the CPU.
        with torch.no_grad():
            task.update(batch, extra)
    return transfers.found
