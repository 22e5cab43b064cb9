"""Batch norm of two ranks with unequal rows: outputs, gradients and statistics of one process."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from batchnorm_ranks import norms, two_steps
from torch import nn

from crdkit.engine.batchnorm import SharedStatistics, batch_norm

CUTS = [5, 2]
SHAPES = {"1d": (7, 3), "2d": (7, 3, 4, 5), "3d": (7, 3, 2, 2, 2)}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, list[Any]]]:
    """Of every kind one process's results, and each rank's."""
    folder = tmp_path_factory.mktemp("norm")
    torch.manual_seed(0)
    given, single, own = {}, {}, norms()
    for name, norm in own.items():
        for parameter in norm.parameters():
            nn.init.normal_(parameter)
        shape = SHAPES[name[-2:]]
        batches = [3 + 2 * torch.randn(shape).double() for _ in range(2)]
        weights = [torch.randn(shape).double() for _ in range(2)]
        given[name] = (copy.deepcopy(norm.state_dict()), batches, weights, CUTS)
    torch.save(given, folder / "input.pt")
    script = Path(__file__).with_name("batchnorm_ranks.py")
    ranks = [
        subprocess.Popen(
            [sys.executable, script, str(rank), "2", *(folder / n for n in ("store", "input.pt", str(rank)))],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for name, (_, batches, weights, _) in given.items():
        single[name] = two_steps(own[name], batches, weights)
    for rank in ranks:
        _, errors = rank.communicate(timeout=900)
        assert rank.returncode == 0, errors
    found = [torch.load(folder / f"{rank}", weights_only=False) for rank in range(2)]
    return {name: (single[name], [one[name] for one in found]) for name in given}


@pytest.mark.parametrize("name", norms())
def test_two_ranks_equal_one_process(name: str, outcome: dict[str, tuple[Any, list[Any]]]) -> None:
    single, ranks = outcome[name]
    for part in ("outputs", "grads"):
        for step, expected in enumerate(single[part]):
            torch.testing.assert_close(torch.cat([rank[part][step] for rank in ranks]), expected)
    for number, expected in enumerate(single["parameters"]):
        torch.testing.assert_close(sum(rank["parameters"][number] for rank in ranks), expected)
    for key, expected in single["state"].items():
        torch.testing.assert_close(ranks[0]["state"][key], expected)
        assert torch.equal(ranks[0]["state"][key], ranks[1]["state"][key])


def test_bf16_stays_bf16_and_is_computed_in_fp32(tmp_path: Path) -> None:
    """In one process, whose group has one rank."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        norm, x = nn.BatchNorm2d(3), torch.randn(8, 3, 4, 4).bfloat16().requires_grad_()
        with SharedStatistics():
            output = norm(x)
        output.sum().backward()
        assert output.dtype == torch.bfloat16 and x.grad is not None and x.grad.dtype == torch.bfloat16
        expected = nn.BatchNorm2d(3)(x.detach().float())
        torch.testing.assert_close(output.float(), expected, rtol=1e-2, atol=1e-2)
        wide = x.detach().double()[:3, :, :2, :2].requires_grad_()
        parameters = [torch.randn(3).double().requires_grad_() for _ in range(2)]
        assert torch.autograd.gradcheck(
            lambda x, *affine: batch_norm(x, None, None, *affine, True), (wide, *parameters)
        )
    finally:
        torch.distributed.destroy_process_group()
