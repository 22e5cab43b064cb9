"""What a memory of many rows costs, by where its rows are (docs/contrast.md, Memory).

Every case is a process of its own, or two for `sharded`: it makes the banks, trains `CRDLoss` with `shared`
negatives on random features (forward, backward, SGD, the writing of the banks), and tells its peak resident
memory and its median step. A mapped bank lies in the folder for temporary files (TMPDIR), 8.7 GB at 17
million rows in bf16; what is resident of it counts as memory here, though the system may take it back. 100
million rows are computed: bytes alone, as a step reads K + B rows of each side whatever M.

What `sharded` changes is measured on the NCE gradient of one batch: its mean over many draws against that of
`shared` draws from all rows, and its spread.

    python benchmarks/banks.py --output benchmarks/results/banks-cpu.json
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turns import command_line, surroundings, write

if TYPE_CHECKING:
    from torch import Tensor

DIM, BATCH, NEGATIVES, SIDES = 128, 64, 16_384, 2
BYTES = {"float32": 4, "bfloat16": 2}
SMALL, LARGE, COMPUTED = 1_280_000, 17_000_000, 100_000_000
CASES = [
    {"num_samples": SMALL, "bank": "memory", "dtype": "float32", "ranks": 1},
    {"num_samples": SMALL, "bank": "memory", "dtype": "bfloat16", "ranks": 1},
    {"num_samples": SMALL, "bank": "mapped", "dtype": "bfloat16", "ranks": 1},
    {"num_samples": SMALL, "bank": "sharded", "dtype": "bfloat16", "ranks": 2},
    {"num_samples": LARGE, "bank": "mapped", "dtype": "bfloat16", "ranks": 1},
]
SIZES: list[dict[str, Any]] = [
    *({"num_samples": LARGE, "bank": "sharded", "dtype": "bfloat16", "ranks": ranks} for ranks in (2, 8)),
    {"num_samples": COMPUTED, "bank": "mapped", "dtype": "bfloat16", "ranks": 1},
    *({"num_samples": COMPUTED, "bank": "sharded", "dtype": "bfloat16", "ranks": ranks} for ranks in (8, 64)),
]
QUICK = [
    {"num_samples": 5_000, "bank": bank, "dtype": "bfloat16", "ranks": 1 + (bank == "sharded")}
    for bank in ("memory", "host", "mapped", "sharded")
]


def train(case: dict[str, Any], rank: int, store: str, steps: int, output: Path) -> None:
    """One rank of a case; the first writes what it finds."""
    import torch
    import torch.distributed as dist

    from crdkit.contrast import CRDLoss, equal_rows

    torch.set_num_threads(1)
    if case["ranks"] > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=case["ranks"])
    torch.manual_seed(0)
    alone = _resident("VmHWM")
    start = time.perf_counter()
    loss = CRDLoss(
        256,
        256,
        case["num_samples"],
        embed_dim=DIM,
        num_negatives=NEGATIVES,
        negatives="shared",
        bank=case["bank"],
        memory_dtype=case["dtype"],
    )
    made = time.perf_counter() - start
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.03)
    torch.manual_seed(1 + rank)
    times: list[float] = []
    with equal_rows():
        for _ in range(steps):
            student, teacher = torch.randn(2, BATCH, 256)
            index = torch.randint(case["num_samples"], (BATCH,))
            start = time.perf_counter()
            optimizer.zero_grad()
            value = loss(student, teacher, index)
            value.backward()
            optimizer.step()
            times.append(time.perf_counter() - start)
    found = {
        "seconds": statistics.median(times[5:]),
        "slowest": max(times[5:]),
        "make_seconds": made,
        "alone_bytes": alone,
        "peak_bytes": _resident("VmHWM"),
        "private_bytes": _resident("RssAnon"),
        "steps": steps,
        "loss": float(value.detach()),
    }
    if rank == 0:
        output.write_text(json.dumps(found))


def _resident(name: str) -> int:
    """Bytes of this process, as Linux names them (ru_maxrss would begin with the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def measure(case: dict[str, Any], steps: int) -> dict[str, Any]:
    """A case in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "found.json"
        words = [sys.executable, __file__, "--case", json.dumps(case), "--steps", str(steps)]
        words += ["--store", f"{folder}/store", "--output", str(output), "--rank"]
        processes = [subprocess.Popen([*words, str(rank)]) for rank in range(case["ranks"])]
        if max(process.wait() for process in processes):
            raise SystemExit(f"{case} failed")
        return {**sized(case), **json.loads(output.read_text())}


def sized(case: dict[str, Any]) -> dict[str, Any]:
    """A case with the bytes of a row, both sides, and of a rank's banks."""
    row = SIDES * DIM * BYTES[case["dtype"]]
    shards = case["ranks"] if case["bank"] == "sharded" else 1
    return {**case, "row_bytes": row, "rank_bytes": -(-case["num_samples"] // shards) * row}


def sharding(ranks: int = 8, rows: int = 8_192, negatives: int = 512, draws: int = 4_000) -> dict[str, Any]:
    """The gradient of NCE by a batch's vectors, from draws of all rows and from those of one rank's.

    Returns:
        Of the gradient without noise: how far the mean over all draws lies from it, and the standard
        deviation of one draw, both relative to its length.
    """
    import torch
    import torch.nn.functional as F

    from crdkit.contrast.objectives import Rule
    from crdkit.contrast.scores import contrast

    torch.manual_seed(0)
    bank, near = (F.normalize(torch.randn(n, DIM), dim=1) for n in (rows, 32))
    index = torch.arange(32)
    z = F.normalize(bank[index] + near, dim=1).requires_grad_()
    # log Z + log(K/M), with the mean of e^{s/τ} over random unit vectors: s has the variance 1/d.
    shift = torch.tensor(1 / (2 * DIM * 0.07**2) + math.log(negatives))

    def gradient(drawn: Tensor, weight: float = 1.0) -> Tensor:
        rule = Rule("nce", 0.07, shift, weight)
        loss = contrast(rule, z, bank[index], bank[drawn], anchor_ids=index, candidate_ids=drawn)
        return torch.autograd.grad(loss, z)[0]

    exact = gradient(torch.arange(rows), negatives / rows)
    found: dict[str, Any] = {"ranks": ranks, "rows": rows, "negatives": negatives, "draws": draws}
    for name, shards in (("shared", 1), ("sharded", ranks)):
        all_draws = []
        for draw in range(draws):
            places = torch.randint(rows // shards, (negatives,))
            all_draws.append(gradient(places * shards + draw % shards))
        total = torch.stack(all_draws)
        found[name] = {
            "distance_of_mean": float((total.mean(0) - exact).norm() / exact.norm()),
            "deviation": float((total - total.mean(0)).square().sum(dim=(1, 2)).mean().sqrt() / exact.norm()),
        }
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--quick", action="store_true", help="small banks, few steps")
    parser.add_argument("--steps", type=int, default=60, help="of each case")
    for name, kind in (("case", json.loads), ("store", str), ("rank", int)):
        parser.add_argument(f"--{name}", type=kind, help="of a process that the benchmark starts")
    given = parser.parse_args()
    if given.case is not None:
        train(given.case, given.rank, given.store, given.steps, given.output)
        return
    around, cases = surroundings(given), []
    for case in QUICK if given.quick else CASES:
        cases.append(measure(case, given.steps))
        print("{num_samples:,} rows, {bank} {dtype}, {ranks} ranks: ".format(**case), end="")
        print("{:.1f} ms, peak {:.2f} GB".format(cases[-1]["seconds"] * 1e3, cases[-1]["peak_bytes"] / 1e9))
    drawn = sharding(draws=40 if given.quick else 4_000)
    print(json.dumps(drawn))
    write(
        given.output,
        "banks",
        around,
        batch_size=BATCH,
        num_negatives=NEGATIVES,
        dim=DIM,
        cases=cases,
        computed=[sized(case) for case in SIZES],
        sharding=drawn,
    )


if __name__ == "__main__":
    main()
