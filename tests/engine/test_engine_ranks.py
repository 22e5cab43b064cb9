"""Two processes over gloo: the same training as one, stopped together, continued together."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import TinyData, run
from two_ranks import COMPARED, LENGTH, ComparedTask

LIMIT = 900.0


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One launch of both ranks for all tests: to start it is what takes the time."""
    folder = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("two_ranks.py")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    started = time.monotonic()
    process = subprocess.run(
        [sys.executable, *launcher, str(script), str(folder)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    missing = [rank for rank in (0, 1) if not (folder / f"rank{rank}.pt").exists()]
    assert not missing, process.stderr
    ranks = [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]
    return {
        "ranks": ranks,
        "code": process.returncode,
        "error": process.stderr,
        "seconds": time.monotonic() - started,
    }


def test_two_ranks_equal_one(outcome: dict[str, Any], tmp_path: Path) -> None:
    """With accumulation, clipping, batch norm, batches that do not divide by two and a last one that is
    smaller: weights, statistics, memory and the terms' means."""
    single = run(tmp_path, task=ComparedTask(), config=COMPARED, dataset=TinyData(LENGTH, noise=0.0))
    for rank in outcome["ranks"]:
        assert rank["world_size"] == 2
        both = rank["compared"]
        torch.testing.assert_close(both["weights"], single["weights"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(both["memory"], single["memory"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(both["average"], single["average"], rtol=1e-5, atol=1e-6)
        for got, expected in zip(both["history"], single["history"], strict=True):
            assert got.keys() == expected.keys()
            compared = [
                name for name in got if not name.endswith("draw")
            ]  # a random number: each rank has its own
            assert [got[name] for name in compared] == pytest.approx(
                [expected[name] for name in compared], rel=1e-5
            )


def test_both_ranks_return_the_same(outcome: dict[str, Any]) -> None:
    first, second = (rank["compared"] for rank in outcome["ranks"])
    assert first["history"] == second["history"]
    for part in ("memory", "average"):
        torch.testing.assert_close(first[part], second[part], rtol=0, atol=0)


def test_ddp_searches_for_unused_parameters_only_where_the_task_declares_them(
    outcome: dict[str, Any],
) -> None:
    for rank in outcome["ranks"]:
        assert rank["used"] == {"searches": {False}, "error": "", "moved": True}
        assert rank["declared"] == {"searches": {True}, "error": "", "moved": True}
        assert rank["undeclared"]["searches"] == {False} and not rank["undeclared"]["moved"]
        assert "module.idle.weight" in rank["undeclared"]["error"]
        assert "Partial.may_leave_unused" in rank["undeclared"]["error"]


def test_a_signal_to_one_rank_stops_both_and_both_continue(outcome: dict[str, Any]) -> None:
    for rank in outcome["ranks"]:
        assert rank["stopped"] == 143
        assert rank["resumed"], "bit for bit as without the signal"


def test_what_a_rank_alone_holds_is_saved_by_it_and_given_back(outcome: dict[str, Any]) -> None:
    first, second = outcome["ranks"]
    assert first["files"] == second["files"] == ["memory-of-rank-1.safetensors", "memory.safetensors"]
    assert not torch.equal(first["own"], second["own"])
    assert first["resumed"] and second["resumed"]


@pytest.mark.parametrize(
    ("part", "when", "what"),
    [
        ("module", "after", "module.3.bias"),
        ("memory", "after", "memory.bank"),
        ("frozen", "before", "frozen[0].0.bias"),
    ],
)
def test_ranks_that_part_ways_are_told_the_stage_and_the_tensor(
    part: str, when: str, what: str, outcome: dict[str, Any]
) -> None:
    for rank in outcome["ranks"]:
        text, finished = rank[part]
        assert text.startswith(f"stage-{part} {when} its training: {what} differ between the 2 processes")
        assert not finished


def test_the_start_says_what_a_batch_is_of_several_processes(outcome: dict[str, Any]) -> None:
    text = "2 processes share every batch of {} samples; batch-norm statistics are those of "
    assert text.format(5) + "the whole batch" in outcome["error"]
    assert text.format(8) + "each process's own share" in outcome["error"]


def test_a_rank_that_cannot_load_is_known_to_the_other(outcome: dict[str, Any]) -> None:
    assert [rank["unreadable"] for rank in outcome["ranks"]] == [
        "WorkerError('another process could not load its batch')",
        "OSError('rank 1 cannot read')",
    ]


def test_a_rank_that_raises_ends_the_launch(outcome: dict[str, Any]) -> None:
    assert outcome["code"] != 0
    assert "RuntimeError: rank 1 failed" in outcome["error"]
    assert outcome["seconds"] < LIMIT
