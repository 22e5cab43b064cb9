"""One rank of test_batchnorm: `python batchnorm_ranks.py RANK WORLD_SIZE STORE INPUT OUTPUT`."""

import sys
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from crdkit.engine.batchnorm import SharedStatistics


class Activated(nn.BatchNorm2d):
    """As a library's own batch norm, with a forward that is not torch's."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.3, self.eps
        ).relu()


def norms() -> dict[str, nn.Module]:
    """Every kind, in fp64."""
    kinds: dict[str, nn.Module] = {
        "1d": nn.BatchNorm1d(3),
        "2d": nn.BatchNorm2d(3, momentum=0.4),
        "3d": nn.BatchNorm3d(3),
        "cumulative-2d": nn.BatchNorm2d(3, momentum=None),
        "bare-2d": nn.BatchNorm2d(3, affine=False),
        "batch-only-2d": nn.BatchNorm2d(3, track_running_stats=False),
        "frozen-2d": nn.BatchNorm2d(3).eval(),
        "own-2d": Activated(3),
    }
    return {name: kind.double() for name, kind in kinds.items()}


def two_steps(norm: nn.Module, batches: list[Tensor], weights: list[Tensor]) -> dict[str, Any]:
    """Outputs, gradients of a weighted sum of them, and the state afterwards."""
    found: dict[str, Any] = {"outputs": [], "grads": []}
    for batch, weight in zip(batches, weights, strict=True):
        x = batch.clone().requires_grad_()
        output = norm(x)
        (output.tanh() * weight).sum().backward()
        found["outputs"].append(output.detach())
        found["grads"].append(x.grad)
    found["parameters"] = [p.grad for p in norm.parameters()]
    return found | {"state": norm.state_dict()}


def main() -> None:
    rank, world_size, store, source, target = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    results = {}
    given = torch.load(source)
    for name, norm in norms().items():
        state, batches, weights, cuts = given[name]
        norm.load_state_dict(state)
        own = [[each.split(cuts)[rank] for each in some] for some in (batches, weights)]
        with SharedStatistics():
            results[name] = two_steps(norm, *own)
    torch.save(results, target)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
