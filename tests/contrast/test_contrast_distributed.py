"""Two ranks of four samples equal one process of eight: loss, gradients, memory, Z."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crdkit.contrast.distributed import gather, gather_with_gradient

SCRIPT = Path(__file__).with_name("ranks.py")
WORLD_SIZE = 2
NAMES = [
    f"{kind}{groups}-{objective}"
    for kind in ("all", "batch", "queue", "local", "dense")
    for groups in ("", "-groups")
    for objective in ("nce", "infonce", "relational")
]


def batch(index: list[int]) -> dict[str, Tensor]:
    shapes = {"s": (8, 4), "t": (8, 4), "s_map": (8, 4, 2, 1), "t_map": (8, 4, 2, 1)}
    vectors = {name: F.normalize(torch.randn(*shape).double(), dim=1) for name, shape in shapes.items()}
    return {"index": torch.tensor(index), **vectors}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The single process's results and each rank's, from one start of two processes.

    In the second batch a sample occurs on both ranks, as where a sampler fills up the last batch.
    """
    spec = importlib.util.spec_from_file_location("ranks", SCRIPT)
    assert spec is not None and spec.loader is not None
    ranks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ranks)
    folder = tmp_path_factory.mktemp("ranks")
    losses = ranks.build()
    batches = [batch([3, 17, 0, 5, 11, 8, 2, 19]), batch([1, 17, 4, 6, 9, 8, 1, 12])]
    # Copies: the single process goes on to write into its own state.
    states = {name: {k: v.clone() for k, v in loss.state_dict().items()} for name, loss in losses.items()}
    torch.save({"batches": batches, "states": states}, folder / "input.pt")
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                SCRIPT,
                str(rank),
                str(WORLD_SIZE),
                folder / "store",
                folder / "input.pt",
                folder / f"{rank}.pt",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(WORLD_SIZE)
    ]
    single = {name: ranks.two_steps(name, loss, batches) for name, loss in losses.items()}
    try:
        for process in processes:
            _, errors = process.communicate(timeout=900)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return single, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD_SIZE)]


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_equal_one_process(name: str, outcome: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    single, ranks = outcome[0][name], [rank[name] for rank in outcome[1]]
    for key, expected in single.items():
        values = [rank[key] for rank in ranks]
        if key.startswith("loss"):
            # Data-parallel training averages the ranks' gradients: that of the mean of their losses.
            torch.testing.assert_close(sum(values) / WORLD_SIZE, expected)
        elif key.startswith("grad"):
            torch.testing.assert_close(torch.cat(values) / WORLD_SIZE, expected)
        else:
            assert torch.equal(values[0], values[1]), key
            if key.endswith("monitor.means"):  # noise pairs of a batch are those within a rank
                values, expected = [value[:2] for value in values], expected[:2]
            torch.testing.assert_close(values[0], expected)


def test_ranks_with_different_numbers_of_rows(outcome: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    for rank, results in enumerate(outcome[1]):
        assert results["uneven"]["rows"].flatten().tolist() == [0, 10, 11]
        assert results["uneven"]["rows_with_gradient"].flatten().tolist() == [0, 10, 11]
        assert results["uneven"]["grad"].flatten().tolist() == [1 + 2] * (rank + 1)


def test_ranks_that_know_that_they_hold_equal_rows(outcome: tuple[Any, list[dict[str, Any]]]) -> None:
    for results in outcome[1]:
        assert results["equal"]["rows"].flatten().tolist() == [0, 1, 10, 11]
        assert results["equal"]["rows_with_gradient"].flatten().tolist() == [0, 1, 10, 11]
        assert results["equal"]["grad"].flatten().tolist() == [1 + 2] * 2


def test_without_a_process_group_gathering_is_the_identity() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    assert gather_with_gradient(x) is x
    assert torch.equal(gather(x), x) and not gather(x).requires_grad
