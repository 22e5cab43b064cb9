"""One rank of test_contrast_distributed: `python ranks.py RANK WORLD_SIZE STORE INPUT OUTPUT`.

The input holds the batches of all ranks; this rank takes its share and saves loss, gradients and state.
"""

import sys
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn

from crdkit.contrast import ContrastConfig, DenseContrast, InstanceContrast, LocalGlobalContrast
from crdkit.contrast.distributed import equal_rows, gather, gather_with_gradient

M, D = 20, 4


def build() -> dict[str, nn.Module]:
    """Everything whose negatives do not depend on a draw."""
    losses: dict[str, nn.Module] = {}
    for objective in ("nce", "infonce", "relational"):
        for name, groups in (("", None), ("-groups", torch.arange(M) % 5)):
            rule = {"temperature": 0.5, "objective": objective}
            for negatives in ("all", "batch", "queue"):
                losses[f"{negatives}{name}-{objective}"] = InstanceContrast(
                    M, ContrastConfig(D, num_negatives=8, negatives=negatives, **rule), groups=groups
                )
            losses[f"local{name}-{objective}"] = LocalGlobalContrast(D, queue_size=10, groups=groups, **rule)
            losses[f"dense{name}-{objective}"] = DenseContrast(D, queue_size=40, groups=groups, **rule)
    return {name: loss.double() for name, loss in losses.items()}


def two_steps(name: str, loss: nn.Module, batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Loss and gradients of two steps, the memory written after each; then the state."""
    results: dict[str, Tensor] = {}
    for step, batch in enumerate(batches):
        index = batch["index"]
        z = {key: value.clone().requires_grad_() for key, value in batch.items() if key != "index"}
        if name.startswith("local"):
            value = loss(z["s_map"], z["s"], z["t_map"], z["t"], index)
        elif name.startswith("dense"):
            value = loss(z["s_map"], z["t_map"], index)
        else:
            value = loss(z["s"], z["t"], index)
        value.backward()
        kind = "_map" if name.startswith("dense") else ""
        loss.update(index, z["s" + kind].detach(), z["t" + kind].detach())
        results[f"loss_{step}"] = value.detach()
        results |= {f"grad_{key}_{step}": x.grad for key, x in z.items() if x.grad is not None}
    return results | {f"state_{key}": value for key, value in loss.state_dict().items()}


def uneven(rank: int) -> dict[str, Tensor]:
    """Rank r holds r + 1 rows; the gradient of a row counts what every rank sends back."""
    x = (torch.arange(rank + 1.0).unsqueeze(1) + 10 * rank).requires_grad_()
    gathered = gather_with_gradient(x)
    ((rank + 1) * gathered.sum()).backward()
    assert x.grad is not None
    return {"rows": gather(x), "rows_with_gradient": gathered.detach(), "grad": x.grad}


def equal(rank: int) -> dict[str, Tensor]:
    """Every rank holds two rows, and knows it: one message each to gather them."""
    x = torch.tensor([[10.0 * rank], [10.0 * rank + 1]], requires_grad=True)
    with equal_rows(), mock.patch.object(dist, "all_gather", wraps=dist.all_gather) as messages:
        rows, gathered = gather(x), gather_with_gradient(x)
    ((rank + 1) * gathered.sum()).backward()
    assert x.grad is not None and messages.call_count == 2
    return {"rows": rows, "rows_with_gradient": gathered.detach(), "grad": x.grad}


def main() -> None:
    rank, world_size, store, source, target = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    given = torch.load(source, weights_only=True)
    share = [
        {key: value.chunk(world_size)[rank] for key, value in batch.items()} for batch in given["batches"]
    ]
    results = {"uneven": uneven(rank), "equal": equal(rank)}
    for name, loss in build().items():
        loss.load_state_dict(given["states"][name])
        results[name] = two_steps(name, loss, share)
    torch.save(results, target)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
