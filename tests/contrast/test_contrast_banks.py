"""Banks on the host, in a mapped file and over two ranks, against the bank in memory."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crdkit.contrast import ContrastConfig, CRDLoss, InstanceContrast
from crdkit.contrast.banks import choose_bank

SCRIPT = Path(__file__).with_name("bank_ranks.py")
ELSEWHERE = ["host", "mapped", "sharded"]


def choose(bank: Any, negatives: Any, num_samples: int, dtype: Any) -> str:
    config = ContrastConfig(memory_dtype=dtype, bank=bank, objective="nce", negatives=negatives)
    return choose_bank(config, num_samples)


CASES = {
    f"{objective}-{dtype}-{num_samples}": (num_samples, dtype, objective)
    for objective, dtype, num_samples in (
        ("nce", "float32", 20),
        ("infonce", "float32", 21),
        ("nce", "bfloat16", 21),
    )
}
cases = pytest.mark.parametrize("case", list(CASES))
elsewhere = pytest.mark.parametrize("bank", ELSEWHERE)


def batch(index: list[int]) -> dict[str, Tensor]:
    s, t = F.normalize(torch.randn(2, len(index), 4), dim=2)
    return {"index": torch.tensor(index), "s": s, "t": t}


@pytest.fixture(scope="module")
def ranks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bank_ranks", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def batches() -> list[dict[str, Tensor]]:
    """In the second a sample is on both ranks, one stands twice, and the ranks have unequal numbers."""
    torch.manual_seed(0)
    return [batch([3, 17, 0, 5, 11, 8, 2, 19]), batch([1, 17, 4, 6, 9, 1, 17])]


@pytest.fixture(scope="module")
def outcome(
    ranks: ModuleType, batches: list[dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What one process with its bank in memory finds, and each of two ranks."""
    folder = tmp_path_factory.mktemp("banks")
    single = {}
    for name, case in CASES.items():
        contrast = ranks.build("memory", *case)
        start = {key: value.clone() for key, value in contrast.state_dict().items()}
        single[name] = ranks.two_steps(contrast, batches, seed=0) | {"start": start}
    whole = {name: found["state"] for name, found in single.items()}
    torch.save({"batches": batches, "cases": CASES, "whole": whole}, folder / "input.pt")
    files = folder / "store", folder / "input.pt"
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), "2", *files, folder / f"{rank}.pt"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=900)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return single, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def joined(states: list[dict[str, Tensor]], side: str, num_samples: int) -> Tensor:
    shards = [state[f"bank_{side}.rows_of_rank_{rank}_of_2"] for rank, state in enumerate(states)]
    return torch.stack(shards, dim=1).flatten(0, 1)[:num_samples]


@cases
@pytest.mark.parametrize("when", ["start", "state"])
def test_both_shards_are_the_bank_of_one_process(case: str, when: str, outcome: Any) -> None:
    single, found = outcome[0][case][when], [rank[case][when] for rank in outcome[1]]
    for side in ("student", "teacher"):
        expected = single[f"bank_{side}.rows"]
        assert torch.equal(joined(found, side, len(expected)), expected)


@cases
def test_a_rank_meets_rows_of_its_own_and_its_samples_rows_from_their_owners(
    case: str, outcome: Any, batches: list[dict[str, Tensor]], naive: ModuleType
) -> None:
    """The first step's loss by naive loops over the rows at the start; Z over the pairs of both ranks."""
    num_samples, _, objective = CASES[case]
    found = [rank[case] for rank in outcome[1]]
    rule = {"temperature": 0.5, "num_samples": num_samples}
    pairs: list[list[Any]] = [[], []]
    for rank, results in enumerate(found):
        drawn = results["drawn_0"]
        assert bool((drawn % 2 == rank).all()) and bool((drawn < num_samples).all())
        own = {name: x.tensor_split(2)[rank] for name, x in batches[0].items()}
        for z, side in ((own["s"], "teacher"), (own["t"], "student")):
            rows = outcome[0][case]["start"][f"bank_{side}.rows"].float()
            pairs[rank].append(naive.bank_pairs(z, rows, own["index"], drawn.expand(len(z), -1)))
    for rank, results in enumerate(found):
        expected = 0.0
        for way in range(2):
            if objective == "infonce":
                expected += naive.direction(pairs[rank][way], objective=objective, num_negatives=6, **rule)
            else:
                both = pairs[0][way] + pairs[1][way]
                count = sum(len(negatives) for _, negatives in both) + len(both)
                assert count > len(both)
                losses = naive.nce(
                    pairs[rank][way], temperature=0.5, z=naive.partition(both, **rule), ratio=6 / num_samples
                )
                expected += sum(losses) / len(losses)
        assert results["loss_0"].item() == pytest.approx(expected, rel=2e-5)


@cases
def test_rows_are_read_wherever_they_are(case: str, outcome: Any, batches: list[dict[str, Tensor]]) -> None:
    rows = outcome[0][case]["state"]["bank_student.rows"]
    for rank, results in enumerate(outcome[1]):
        assert torch.equal(results[case]["read"], rows[batches[1]["index"].tensor_split(2)[rank]])


@cases
def test_a_shard_is_resumed_by_its_own_rank(case: str, outcome: Any) -> None:
    for results in outcome[1]:
        assert results[case]["same"]
        assert "rows_of_rank" in results[case]["refused"]


def test_the_mean_over_ranks_of_the_nce_gradient_is_that_of_all_rows(
    outcome: Any, batches: list[dict[str, Tensor]]
) -> None:
    """Each rank meets every row of its shard once: together every row once, at half the weight."""
    case = "nce-float32-20"
    state, found = outcome[0][case]["state"], [rank[case]["every"] for rank in outcome[1]]
    index, z_t = batches[0]["index"], batches[0]["t"]
    z_s, expected = batches[0]["s"].clone().requires_grad_(), torch.zeros(())
    for z, way, side in ((z_s, "student", "teacher"), (z_t, "teacher", "student")):
        rows, log_z = state[f"bank_{side}.rows"], state[f"critic_{way}.partition.log_z"]
        logit = z @ rows.T / 0.5 - log_z - torch.log(torch.tensor(6 / 20))
        own = F.one_hot(index, 20).bool()
        noise = F.softplus(logit).masked_fill(own, 0.0).sum(dim=1)
        expected = expected + (F.softplus(-logit[own]) + 0.5 * noise).mean()
    expected.backward()
    torch.testing.assert_close(sum(x["loss"] for x in found) / 2, expected.detach())
    torch.testing.assert_close(sum(x["grad"] for x in found) / 2, z_s.grad)


@cases
@elsewhere
def test_one_process_finds_the_same_bits_in_every_bank(
    bank: str, case: str, ranks: ModuleType, batches: list[dict[str, Tensor]], outcome: Any
) -> None:
    expected, found = outcome[0][case], ranks.two_steps(ranks.build(bank, *CASES[case]), batches, seed=0)
    for key in ("loss_0", "loss_1", "grad_0", "grad_1"):
        assert torch.equal(found[key], expected[key]), key
    assert found["state"].keys() == expected["state"].keys()
    for key, value in expected["state"].items():
        assert torch.equal(found["state"][key], value), key


@elsewhere
def test_it_goes_on_bit_for_bit_from_a_file(
    bank: str, tmp_path: Path, ranks: ModuleType, batches: list[dict[str, Tensor]]
) -> None:
    contrast = ranks.build(bank, 21, "bfloat16", "nce")
    ranks.two_steps(contrast, batches, seed=0)
    torch.save(contrast.state_dict(), tmp_path / "state.pt")
    resumed = ranks.build(bank, 21, "bfloat16", "nce")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", mmap=True, weights_only=True))
    one, other = (ranks.two_steps(each, batches, seed=5) for each in (contrast, resumed))
    assert torch.equal(one["loss_1"], other["loss_1"])
    assert all(torch.equal(x, one["state"][key]) for key, x in other["state"].items())


@pytest.mark.parametrize("negatives", ["shared_other_class", "shared_other_group"])
@elsewhere
def test_classes_and_groups_are_passed_over(bank: str, negatives: str) -> None:
    kind = torch.arange(20) % 3
    found = []
    for each in ("memory", bank):
        torch.manual_seed(0)
        contrast = InstanceContrast(
            20, ContrastConfig(4, num_negatives=8, negatives=negatives, bank=each), labels=kind, groups=kind
        )
        z_s, z_t = F.normalize(torch.randn(2, 5, 4), dim=2)
        found.append(contrast(z_s, z_t, torch.arange(5)))
    assert torch.equal(*found)


def test_rows_of_the_host_stay_there_and_in_their_type() -> None:
    for bank in ("host", "mapped"):
        contrast = InstanceContrast(20, ContrastConfig(4, num_negatives=8, negatives="shared", bank=bank)).to(
            "meta"
        )
        assert contrast.bank_student is not None and contrast.critic_student.partition is not None
        assert contrast.bank_student.rows.device.type == "cpu"
        assert contrast.critic_student.partition.log_z.device.type == "meta"


def test_a_mapped_bank_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    CRDLoss(3, 5, 20, embed_dim=4, negatives="shared", bank="mapped")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("free", "negatives", "expected"),
    [(64, "uniform", "memory"), (64, "shared", "memory"), (8, "shared", "mapped"), (8, "uniform", "memory")],
)
def test_free_memory_chooses_and_says_so(
    free: int, negatives: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """17 million rows in bf16 are 8.7 GB; a GPU would have to be asked, too."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("crdkit.contrast.banks.free_memory", lambda: free * 10**9)
    assert choose("auto", negatives, 17_000_000, "bfloat16") == expected
    said = capsys.readouterr().out
    assert f"bank={expected!r}" in said and "8.7 GB" in said
    assert ("negatives='shared'" in said) == (free == 8 and negatives == "uniform")
    assert choose("host", "shared", 17_000_000, "bfloat16") == "host"
    assert choose("auto", "shared", 50_000, "float32") == "memory"
    assert not capsys.readouterr().out


def test_a_gpu_with_too_little_memory_leaves_the_rows_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8 * 10**9, 80 * 10**9))
    monkeypatch.setattr("crdkit.contrast.banks.free_memory", lambda: 64 * 10**9)
    assert choose("auto", "shared", 17_000_000, "bfloat16") == "host"


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"bank must be one of auto, memory, .*, got 'disk'"):
        InstanceContrast(20, ContrastConfig(4, bank="disk"))
    for bank in ELSEWHERE:
        for negatives in ("uniform", "all", "batch"):
            with pytest.raises(ValueError, match=f"bank='{bank}'.*negatives='{negatives}'.*'shared'"):
                InstanceContrast(20, ContrastConfig(4, bank=bank, negatives=negatives))
    contrast = InstanceContrast(20, ContrastConfig(4, bank="host", negatives="shared"))
    z = F.normalize(torch.randn(2, 4), dim=1)
    with pytest.raises(ValueError, match="negative_index needs bank='memory', got bank='host'"):
        contrast(z, z, torch.tensor([0, 1]), negative_index=torch.zeros(2, 3, dtype=torch.int64))
    other = InstanceContrast(20, ContrastConfig(4, bank="memory", negatives="shared"))
    with pytest.raises(ValueError, match="host, memory"):
        contrast.share_bank_student(other)
