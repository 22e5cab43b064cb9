"""A training of a second with everything that a checkpoint has to bring back; imported and run by the tests.

It draws random numbers wherever a training may: in the data set (torch, numpy, python), in the network
(dropout), in the task (a negative's row) and in the evaluation; and it has batch norm, a memory that each
step reads and writes, and a frozen teacher.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from crdkit.engine import Task, TrainConfig, WeightAverage, train

SAMPLES = 22
CONFIG = TrainConfig(
    epochs=3,
    batch_size=4,
    lr=0.05,
    schedule="cosine",
    warmup_epochs=0.5,
    log_every=2,
    checkpoint_every=0.4,
)


class TinyData:
    """Sample i is a fixed vector plus noise from all three global generators."""

    def __init__(self, length: int = SAMPLES, noise: float = 0.1) -> None:
        self.vectors = torch.randn(length, 4, generator=torch.Generator().manual_seed(0))
        self.noise = noise

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        noise = torch.rand(4) + float(np.random.rand()) + random.random()
        return {"index": torch.tensor(i), "x": self.vectors[i] + self.noise * noise}


class TinyTask(Task):
    """Regress a frozen teacher and stay near the memory's row of another, random sample."""

    def __init__(
        self, *, dropout: float = 0.2, slow: float = 0.0, samples: int = SAMPLES, ema: float | None = None
    ) -> None:
        generator_state = torch.get_rng_state()
        torch.manual_seed(0)
        self.module = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2)
        )
        self.average = None if ema is None else WeightAverage(self.module, ema)
        self.memory = nn.Module()
        self.memory.register_buffer("bank", torch.zeros(samples, 2))
        self.frozen = (nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)),)
        torch.set_rng_state(generator_state)
        self.weights = {"teacher": 1.0, "memory": 0.5}
        self.slow = slow

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        time.sleep(self.slow)
        output = module(batch["x"])
        with torch.no_grad():
            target = self.frozen[0](batch["x"])
        other = torch.randint(len(self.memory.bank), batch["index"].shape)
        terms = {
            "teacher": (output - target).square().mean(),
            "memory": (output - self.memory.bank[other]).abs().mean(),
        }
        return terms, output.detach()

    def update(self, batch: dict[str, Tensor], extra: Tensor) -> None:
        self.memory.bank[batch["index"]] = 0.5 * self.memory.bank[batch["index"]] + 0.5 * extra


class Stopping(TinyTask):
    """Does something in the middle of some batches, counted from the first of this process."""

    def __init__(self, actions: dict[int, Callable[[], object]]) -> None:
        super().__init__()
        self.actions, self.count = actions, 0

    def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
        self.count += 1
        if self.count in self.actions:
            self.actions[self.count]()
        return super().terms(module, batch)


def kill(signum: int) -> Callable[[], object]:
    return lambda: os.kill(os.getpid(), signum)


def evaluate(module: nn.Module) -> dict[str, float]:
    """Depends on the random state at the evaluation and on the weights."""
    with torch.no_grad():
        return {"draw": float(torch.rand(())), "norm": float(module(torch.ones(2, 4)).norm())}


def run(
    folder: Path, *, task: Task | None = None, config: TrainConfig = CONFIG, **options: Any
) -> dict[str, Any]:
    """Train on the CPU; returns the history, weights, bank and, if there is one, the average."""
    task = task or TinyTask()
    history = train(
        task,
        options.pop("dataset", None) or TinyData(),
        config,
        folder,
        accelerator=options.pop("accelerator", None) or Accelerator(cpu=True),
        seed=options.pop("seed", 1),
        evaluate=options.pop("evaluate", evaluate),
        **options,
    )
    return {
        "history": history,
        "weights": task.module.state_dict(),
        "memory": task.memory.state_dict(),
        "average": {} if task.average is None else task.average.tensors,
    }


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Bitwise equal in every value."""
    return first["history"] == second["history"] and all(
        torch.equal(value, second[part][name])
        for part in ("weights", "memory", "average")
        for name, value in first[part].items()
    )


def run_and_save(folder: Path, slow: float = 0.0) -> None:
    """For a process of its own: train, then leave the result in the folder. Never on more than one thread."""
    torch.set_num_threads(1)
    torch.save(run(folder, task=TinyTask(slow=slow)), folder / "result.pt")


def launch(folder: Path) -> None:
    """Stands for a launcher that starts a rank and does not forward signals."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no"
    rank = os.fork()
    if rank == 0:
        os.setsid()
        run_and_save(folder, 0.05)
        os._exit(0)
    (folder / "rank.pid").write_text(str(rank))
    os.waitpid(rank, 0)


def alive(pid: int) -> bool:
    """A process that has ended but that nobody waited for is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
