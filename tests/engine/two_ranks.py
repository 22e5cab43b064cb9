"""Both ranks of test_engine_ranks: `torchrun --nproc_per_node 2 two_ranks.py FOLDER`."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tiny_training import CONFIG, TinyData, TinyTask, run, same
from torch import Tensor, nn

from crdkit.contrast.distributed import gather
from crdkit.engine import Interrupted, RanksError, TaskError, WeightAverage, digest, make_accelerator

# Batch norm needs two samples on each rank also in the last batch.
DISTURBED = replace(CONFIG, batch_size=8)
COMPARED = replace(
    CONFIG, epochs=2, batch_size=5, accumulate=2, clip_norm=0.5, warmup_epochs=0, sync_batchnorm=True
)
LENGTH = 23
"""Of the data that one rank and two are compared on: batches of 5, and a last one of 3."""


class GatheringTask(TinyTask):
    """Writes what all ranks saw into each rank's memory."""

    def update(self, batch: dict[str, Tensor], extra: Tensor) -> None:
        super().update({"index": gather(batch["index"])}, gather(extra))


class OwnRowsTask(GatheringTask):
    """Each rank has rows of its own in the memory, which its steps write and read."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.memory.register_buffer(f"own_of_rank_{RANK}_of_2", torch.full((2,), float(RANK)))

    @property
    def own(self) -> Tensor:
        return self.memory.get_buffer(f"own_of_rank_{RANK}_of_2")

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        terms, output = super().terms(module, batch)
        return {**terms, "memory": terms["memory"] + (output - self.own).square().mean()}, output.detach()

    def update(self, batch: dict[str, Tensor], extra: Tensor) -> None:
        super().update(batch, extra)
        self.own.lerp_(extra.mean(0), 0.3)


class ComparedTask(GatheringTask):
    """Nothing in it depends on how a batch is cut over ranks: no dropout, no random row."""

    def __init__(self) -> None:
        super().__init__(samples=LENGTH)
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        self.average = WeightAverage(self.module, 0.9)

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        output = module(batch["x"])
        target = self.frozen[0](batch["x"])
        row = self.memory.bank[batch["index"]]
        return {"teacher": (output - target).square().mean(), "memory": (output - row).abs().mean()}, output


class Signalled(OwnRowsTask):
    """Only one rank gets a signal, in its fifth batch."""

    count = 0

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        self.count += 1
        if self.count == 5 and RANK == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().terms(module, batch)


class Parting(ComparedTask):
    """Ranks go ways of their own: one in what it trains, one in its memory, one in its teacher."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part
        if part == "frozen":
            nn.init.constant_(self.frozen[0][0].bias, RANK)

    def update(self, batch: dict[str, Tensor], extra: Tensor) -> None:
        super().update(batch, extra)
        moved = {"module": self.module[3].bias, "memory": self.memory.bank, "frozen": torch.zeros(())}
        moved[self.part].add_(RANK)


class Partial(ComparedTask):
    """Leaves the layer "idle", if there is one, without a gradient."""

    def __init__(self, *, idle: bool, declared: bool) -> None:
        super().__init__()
        self.module = WithIdle(self.module, idle=idle)
        self.average = None
        self.may_leave_unused = declared
        self.searches: set[bool] = set()

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        self.searches.add(module.find_unused_parameters)
        return super().terms(module, batch)


class WithIdle(nn.Module):
    """A network beside a layer that its forward does not use."""

    def __init__(self, network: nn.Module, *, idle: bool) -> None:
        super().__init__()
        self.network, self.idle = network, nn.Linear(2, 2) if idle else None

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


class Raising(GatheringTask):
    """One rank fails."""

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        if RANK == 1:
            raise RuntimeError("rank 1 failed")
        return super().terms(module, batch)


class RaisingData(TinyData):
    """One rank cannot read."""

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        if RANK == 1:
            raise OSError("rank 1 cannot read")
        return super().__getitem__(i)


def main(folder: Path) -> None:
    accelerator = make_accelerator(cpu=True)
    results: dict[str, Any] = {"world_size": accelerator.num_processes}
    results["compared"] = run(
        folder / "compared",
        task=ComparedTask(),
        config=COMPARED,
        dataset=TinyData(LENGTH, noise=0.0),
        accelerator=accelerator,
    )
    undisturbed = run(
        folder / "undisturbed", task=OwnRowsTask(ema=0.9), config=DISTURBED, accelerator=accelerator
    )
    try:
        run(folder / "signalled", task=Signalled(ema=0.9), config=DISTURBED, accelerator=accelerator)
        results["stopped"] = None
    except Interrupted as stopped:
        results["stopped"] = stopped.code
    saved = max((folder / "signalled" / "checkpoints").glob("checkpoint-*"))
    results["files"] = sorted(path.name for path in saved.glob("memory*"))
    resumed = run(folder / "signalled", task=OwnRowsTask(ema=0.9), config=DISTURBED, accelerator=accelerator)
    results["resumed"] = same(resumed, undisturbed)
    results["own"] = undisturbed["memory"][f"own_of_rank_{RANK}_of_2"]
    try:
        run(
            folder / "unreadable",
            task=GatheringTask(),
            config=DISTURBED,
            dataset=RaisingData(),
            accelerator=accelerator,
        )
    except Exception as error:
        results["unreadable"] = repr(error)
    for part in ("module", "memory", "frozen"):
        try:
            run(
                folder / part,
                task=Parting(part),
                config=replace(COMPARED, epochs=1),
                label=f"stage-{part}",
                dataset=TinyData(LENGTH, noise=0.0),
                accelerator=accelerator,
            )
        except RanksError as error:
            results[part] = str(error), (folder / part / "history.json").exists()
    partial = {
        "used": Partial(idle=False, declared=False),
        "undeclared": Partial(idle=True, declared=False),
        "declared": Partial(idle=True, declared=True),
    }
    for name, task in partial.items():
        before = digest(dict(task.module.named_parameters()))
        try:
            run(folder / name, task=task, config=COMPARED, dataset=TinyData(LENGTH), accelerator=accelerator)
            error = ""
        except TaskError as raised:
            error = str(raised)
        moved = digest(dict(task.module.named_parameters())) != before
        results[name] = {"searches": task.searches, "error": error, "moved": moved}
    torch.save(results, folder / f"rank{RANK}.pt")
    run(folder / "raising", task=Raising(), config=DISTURBED, accelerator=accelerator)


if __name__ == "__main__":
    RANK = int(os.environ["RANK"])
    main(Path(sys.argv[1]))
