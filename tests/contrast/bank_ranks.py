"""One rank of test_contrast_banks: `python bank_ranks.py RANK WORLD_SIZE STORE INPUT OUTPUT`."""

import sys
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor

from crdkit.contrast import ContrastConfig, InstanceContrast
from crdkit.contrast.negatives import draw_shared

SEED, K, D = 3, 6, 4


def build(bank: str, num_samples: int, dtype: str, objective: str) -> InstanceContrast:
    torch.manual_seed(SEED)
    return InstanceContrast(
        num_samples,
        ContrastConfig(
            D,
            num_negatives=K,
            temperature=0.5,
            negatives="shared",
            bank=bank,
            memory_dtype=dtype,
            objective=objective,
        ),
    )


def two_steps(contrast: InstanceContrast, batches: list[dict[str, Tensor]], seed: int) -> dict[str, Any]:
    """Losses, gradients and what was drawn in two steps, the memory written after each."""
    found: dict[str, Any] = {"start": contrast.state_dict()}
    for step, batch in enumerate(batches):
        z_s, z_t = (batch[side].clone().requires_grad_() for side in ("s", "t"))
        assert contrast.bank_student is not None
        torch.manual_seed(seed + step)
        found[f"drawn_{step}"] = contrast.bank_student.samples(draw_shared(K, contrast.bank_student.size))
        torch.manual_seed(seed + step)
        loss = contrast(z_s, z_t, batch["index"])
        loss.backward()
        contrast.update(batch["index"], z_s, z_t)
        found |= {f"loss_{step}": loss.detach(), f"grad_{step}": z_s.grad}
    return found | {"state": contrast.state_dict()}


def every_row(contrast: InstanceContrast, batch: dict[str, Tensor]) -> dict[str, Any]:
    """Loss and gradient of one batch against each row of the own shard."""
    z_s = batch["s"].clone().requires_grad_()
    with mock.patch("crdkit.contrast.negatives.draw_shared", lambda _, size, **__: torch.arange(size)):
        loss = contrast(z_s, batch["t"], batch["index"])
    loss.backward()
    return {"loss": loss.detach(), "grad": z_s.grad}


def main() -> None:
    rank, world_size, store, source, target = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    given = torch.load(source, weights_only=True)
    share = [{name: x.tensor_split(world_size)[rank] for name, x in b.items()} for b in given["batches"]]
    results: dict[str, Any] = {}
    for name, (num_samples, dtype, objective) in given["cases"].items():
        contrast = build("sharded", num_samples, dtype, objective)
        results[name] = two_steps(contrast, share, seed=10 * rank)
        resumed = build("sharded", num_samples, dtype, objective)
        resumed.load_state_dict(results[name]["state"])
        for each in (contrast, resumed):
            each.eval()
        results[name]["same"] = torch.equal(*(every_row(c, share[0])["grad"] for c in (contrast, resumed)))
        resumed.load_state_dict(given["whole"][name])
        assert resumed.bank_student is not None
        results[name]["read"] = resumed.bank_student.read(share[1]["index"])
        results[name]["every"] = every_row(resumed, given["batches"][0])
        try:
            other = contrast.state_dict()
            contrast.load_state_dict(
                {key.replace(f"_{rank}_of", f"_{1 - rank}_of"): x for key, x in other.items()}
            )
        except RuntimeError as error:
            results[name]["refused"] = str(error)
    torch.save(results, target)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
