"""Steps on tensors that say they are on a GPU: what would be on the wrong device, or wait for the host."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from crdkit.common import equal_rows
from crdkit.data import read_rows
from crdkit.engine import TrainConfig, augment_in_fp32, shared_statistics, weighted_sum
from crdkit.engine.guards import FiniteGuard
from crdkit.engine.tracking import Meter
from crdkit.pipelines import Stage

CUDA = torch.device("cuda", 0)
aten = torch.ops.aten


class Transfers(TorchDispatchMode):
    """Notes what one of host and GPU waits for: any copy between them but of pinned memory to the GPU, and
    operations that copy or count inside, of which fake tensors know nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.sent = 0
        """Copies of pinned memory, without a wait."""
        self.pinned: list[Tensor] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is aten._local_scalar_dense.default and args[0].device.type == "cpu":
            return 0.0 if args[0].dtype.is_floating_point else 0  # the host asks itself
        if function is aten.is_pinned.default:
            return False
        if function is aten._pin_memory.default:  # of a fake tensor there is nothing to pin
            self.pinned.append(args[0])
            return args[0]
        result = function(*args, **kwargs)
        if function.overloadpacket in (aten._to_copy, aten.copy_):
            source = args[0] if function.overloadpacket is aten._to_copy else args[1]
            # Within vmap a number may be converted, too.
            if isinstance(source, Tensor) and source.device.type != result.device.type:
                self._sent(source, result, kwargs.get("non_blocking") or args[2:] == (True,))
        elif function.overloadpacket in (aten.index, aten.index_put_, aten.index_put) and args[0].is_cuda:
            for place in args[1]:
                if place is not None:
                    self._placed(place, *args[2:3])
        return result

    def _sent(self, source: Tensor, result: Tensor, non_blocking: bool) -> None:
        # A cast on the way goes through memory that is not pinned.
        pinned = any(source is x for x in self.pinned) and source.dtype == result.dtype
        if result.is_cuda and non_blocking and pinned:
            self.sent += 1
        else:
            self.found.append(f"{source.device.type} -> {result.device.type} {tuple(source.shape)}")

    def _placed(self, place: Tensor, *values: Tensor) -> None:
        if not place.is_cuda:
            self.found.append(f"cpu index {tuple(place.shape)}")
        elif place.dtype == torch.bool and any(value.numel() != 1 for value in values):
            self.found.append(f"count of {tuple(place.shape)}")  # with one value it is a masked_fill


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
                for _, stack in getattr(part, "_stacks", None) or ():
                    if len(stack.networks) > 1:
                        stack.state = tree_map(self.tensor, stack.state)


def fake_step(stage: Stage, train: TrainConfig, accelerator: Any, *, what: str) -> list[str]:
    """As `crdkit.pipelines.preflight.trial.trial_step`, of a copy of the task on a GPU that is none.

    Returns:
        The copies between the host and the GPU in the step.

    Raises:
        Exceptions of `FakeTensorMode`: for a tensor on the wrong device, or an operation whose shape depends
            on values, which the host would have to wait for.
    """
    real = read_rows(stage.dataset, range(4))
    task: Any = copy.deepcopy(stage.task)
    gpu = FakeGPU()
    for part in task.memory.modules() if task.memory is not None else ():
        if hasattr(part, "_known"):
            part._known = True  # CRD's constant is asked for once, after the first batch
    inputs = vars(task.inputs).values() if hasattr(task, "inputs") else ()
    for teachers in task.frozen:  # teachers of one architecture are stacked once, before the first batch
        teachers.batched = True
        teachers(augment_in_fp32(real, task.inputs.augment))
    gpu.move([*vars(task).values(), *inputs, *task.frozen])
    batch = {name: gpu.tensor(value) for name, value in real.items()}
    task.module.train()
    statistics = shared_statistics(train.sync_batchnorm)
    with gpu.mode, Transfers() as transfers, statistics, equal_rows():
        terms, extra = task.terms(task.module, batch)
        loss = weighted_sum(terms, task.weights_at(0))
        assert loss.device == CUDA, what
        Meter(list(terms), CUDA).add(terms, train.batch_size)
        FiniteGuard(list(terms), CUDA).watch(terms, 0)
        # No backward: autograd's engine asks CUDA itself for a context. What it would run is torch's own, but
        # for the autograd functions of ours, which are tested on the CPU.
        with torch.no_grad():
            task.update(batch, extra)
    return transfers.found
