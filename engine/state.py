"""Everything of a running training that a checkpoint has to bring back."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer

from .checkpoint import KEPT, CheckpointStore, flatten_optimizer, restore_optimizer
from .config import TrainConfig
from .errors import CheckpointError, CrdkitError, NonFiniteError, ResumeError, TaskError
from .files import digest, split_by_rank, tensors_of
from .finished import require_same, with_nan, write_finished
from .guards import FiniteGuard, nonfinite_samples
from .peers import Peers, digests_of
from .rng import restore_rng, rng_state
from .sampler import BatchSource
from .task import Task
from .tracking import Meter

T = TypeVar("T")

# What torch's GradScaler starts from; it belongs to the accelerator, which may have served before.
FIRST_SCALE = 65536.0

# Of the time, the most that checkpoints take which nobody asked for; and seconds between two within an epoch.
SHARE, LONGEST = 0.02, 600.0
# Seconds that one is taken to cost until one has been timed, and on top bytes a second.
GUESS, RATE = 0.03, 30e6


class TrainState:
    """The position, the history, the sums of the epoch, and with them all that is saved.

    Attributes:
        epoch: epochs closed, that is with their row in the history.
        batch: batches done in the epoch after those.
        history: a row for each closed epoch.
        meter: the terms' means in the epoch after those; None before the first batch.
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        source: BatchSource,
        *,
        accelerator: Accelerator,
        peers: Peers,
        folder: Path,
        fingerprint: dict[str, Any],
        config: TrainConfig,
    ) -> None:
        self.epoch, self.batch = 0, 0
        self.history: list[dict[str, Any]] = []
        self.meter: Meter | None = None
        self._guard: FiniteGuard | None = None
        self._task, self._optimizer, self._source = task, optimizer, source
        self._device, self._scaler = accelerator.device, accelerator.scaler
        self._peers, self._fingerprint = peers, fingerprint
        self._store = CheckpointStore(folder)
        self._config = config
        size = 2 * sum(parameter.nbytes for parameter in task.module.parameters())  # and the optimizer's
        self._saved, self._cost = time.monotonic(), GUESS + size / RATE

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is to be saved after a step: where it was asked for, else where it is worth
        its time, by the main process's clock and for all."""
        at_end = self.batch == self._source.batches_per_epoch
        every = self._config.checkpoint_every
        if every is not None:
            steps = math.ceil(self._source.batches_per_epoch / self._config.accumulate)
            return step % max(1, round(every * steps)) == 0
        if not at_end and step % self._config.log_every:
            return False
        past = time.monotonic() - self._saved
        due = past * SHARE >= self._cost and (at_end or past >= LONGEST)
        return bool(self._peers.largest(self._peers.is_main and due)[0])

    def watch(self, terms: dict[str, Tensor], loss: Tensor, number: int) -> None:
        """Add a batch's terms to the means of the epoch, and remember whether they are finite."""
        names = [*terms, "loss"]
        if self.meter is None:
            self.meter = Meter(names, self._device)
        if self._guard is None:
            self._guard = FiniteGuard(list(self.meter.names), self._device)
        if set(names) != set(self.meter.names):
            raise TaskError(f"the task returned {sorted(terms)}, before {sorted(self.meter.names[:-1])}")
        values = {**terms, "loss": loss}
        self.meter.add(values, self._source.weight(number))
        self._guard.watch(values, self.epoch * self._source.batches_per_epoch + number)

    def require_finite(self) -> None:
        """Raise `NonFiniteError`, on every process, where a term was NaN or infinite on any."""
        found = self._guard.found() if self._guard is not None else None
        (anywhere,) = self._peers.largest(found is not None)
        if found is not None:
            raise NonFiniteError(f"{self._describe(*found)}. {self._last_good()}")
        if anywhere:
            raise NonFiniteError(f"a term was not finite on another process. {self._last_good()}")

    def means(self) -> dict[str, float]:
        """The means of the loss and the terms over the epoch so far and over all processes."""
        if self.meter is None:
            return {}
        ranks = self._peers.gather({"sums": self.meter.sums})
        return self.meter.means(torch.stack([rank["sums"] for rank in ranks]).sum(0))

    def close_epoch(self, row: dict[str, Any]) -> None:
        """Add the epoch's row to the history and stand at the start of the next."""
        self.history.append(row)
        self.epoch, self.batch = self.epoch + 1, 0
        if self.meter is not None:
            self.meter.reset()

    def save(self) -> Path:
        """Write a checkpoint; called by every process, done by the main one, but for what of the memory is a
        rank's alone. Returns its folder.

        Raises:
            NonFiniteError: a term so far, or a tensor to be saved, is NaN or infinite.
            CheckpointError: it could not be written.
        """
        self.require_finite()
        began = time.monotonic()
        local = rng_state(self._device)
        if self.meter is not None:
            local["meter"] = self.meter.sums
        ranks = self._peers.gather(local)
        memory = tensors_of(self._task.memory, "memory")
        if alone := split_by_rank(memory)[1]:
            name, others = memory_of(self._peers.rank), not self._peers.is_main
            self._by(
                others, lambda: self._store.leave(name, alone), "another process could not save its memory"
            )

        def write() -> Path:
            tensors, values = flatten_optimizer(self._optimizer)
            groups = {
                "model": tensors_of(self._task.module, "module"),
                memory_of(0): memory,
                "optimizer": tensors,
                "ranks": {f"{r}.{name}": x for r, rank in enumerate(ranks) for name, x in rank.items()},
            }
            if self._task.average is not None:
                groups["ema"] = self._task.average.tensors
            state = {
                "fingerprint": self._fingerprint,
                "epoch": self.epoch,
                "batch": self.batch,
                "history": self.history,
                "terms": self.meter.names if self.meter is not None else None,
                "optimizer": values,
                "scaler": self._scaler.state_dict() if self._scaler is not None else None,
            }
            return self._store.save(groups, state)

        path = self._on_main(write, "save a checkpoint") or self._store.folder
        self._saved = time.monotonic()
        self._cost = self._saved - began
        return path

    def resume(self) -> None:
        """Continue from the newest whole checkpoint, where there is one.

        Raises:
            CheckpointError: there are checkpoints, but none is whole.
            ResumeError: they are of another training.
        """
        if self._scaler is not None:
            self._scaler.load_state_dict(
                {**self._scaler.state_dict(), "scale": FIRST_SCALE, "_growth_tracker": 0}
            )

        refused: dict[int, str] = {}

        def find() -> int:
            self._store.clean()
            return self._store.newest_whole(refused)

        while number := self._peers.largest(self._on_main(find, "find a whole checkpoint") or 0)[0]:
            trouble = self._trouble(number)
            if not self._peers.largest(trouble is not None)[0]:
                return
            refused[number] = trouble or f"{self._store.path(number)} cannot be continued on another process"

    def _trouble(self, number: int) -> str | None:
        """What keeps a checkpoint from being restored, whose files are what its manifest says."""
        try:
            self._restore(number)
        except ResumeError:
            raise
        except Exception as error:  # contents of any other kind; the checkpoint before is restored over it
            text = " ".join(str(error).split())
            return f"{self._store.path(number)} cannot be continued ({type(error).__name__}: {text:.200})"
        return None

    def finish(self, folder: Path, *, label: str) -> None:
        """Write the results, which mark the folder as finished, and delete the checkpoints.

        Raises:
            RanksError: the processes hold other weights, buffers or memories; nothing is written.
        """
        require_same_everywhere(self._task, self._peers, label or str(folder))
        self._on_main(
            lambda: write_finished(folder, self._task, self._fingerprint, self.history), "write the results"
        )

    def _restore(self, number: int) -> None:
        alone = split_by_rank(tensors_of(self._task.memory, "memory"))[1]
        memories = {memory_of(0), memory_of(self._peers.rank if alone else 0)}
        saved = self._store.load(number, ("model", "optimizer", "ranks", *memories))
        state = saved.state
        require_same(state["fingerprint"], self._fingerprint, self._store.folder.parent)
        self._task.module.load_state_dict(saved.tensors["model"])
        if self._task.memory is not None:
            rows = {key: x for name in memories for key, x in saved.tensors[name].items()}
            of_others = split_by_rank(rows)[1].keys() - alone.keys()
            self._task.memory.load_state_dict({key: x for key, x in rows.items() if key not in of_others})
        if self._task.average is not None:
            self._task.average.load(self._store.load(number, ("ema",)).tensors["ema"])
        restore_optimizer(self._optimizer, saved.tensors["optimizer"], state["optimizer"])
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        self.epoch, self.batch, self.history = state["epoch"], state["batch"], with_nan(state["history"])
        prefix = f"{self._peers.rank}."
        own = {k.removeprefix(prefix): x for k, x in saved.tensors["ranks"].items() if k.startswith(prefix)}
        if state["terms"] is not None:
            self.meter = Meter(state["terms"], self._device)
            self.meter.sums.copy_(own.pop("meter"))
        restore_rng(own, self._device)

    def _on_main(self, do: Callable[[], T], what: str) -> T | None:
        """What the main process does; if it fails, every process does."""
        return self._by(self._peers.is_main, do, f"the main process could not {what}")

    def _by(self, mine: bool, do: Callable[[], T], fault: str) -> T | None:
        """What some processes do; if it fails on one, every process fails, with its error or the `fault`."""
        result, trouble = None, None
        if mine:
            try:
                result = do()
            except CrdkitError as error:
                trouble = error
        (failed,) = self._peers.largest(trouble is not None)
        if trouble is not None:
            raise trouble
        if failed:
            raise CheckpointError(fault)
        return result

    def _describe(self, number: int, terms: list[str]) -> str:
        """Where it happened, and the samples to blame where the inputs tell: the batch is fetched again."""
        epoch, batch = divmod(number, self._source.batches_per_epoch)
        inputs = self._source.fetch(epoch, batch)
        samples = nonfinite_samples(inputs)
        blamed = [name for name in terms if name != "loss"] or ["loss"]
        where = f"not finite at epoch {epoch + 1}, batch {batch + 1}: the term {', '.join(blamed)}"
        if samples:
            return f"{where}; NaN or infinity in the input of {', '.join(samples[:8])}"
        return f"{where}; the inputs of its samples are finite, so look at the learning rate or the precision"

    def _last_good(self) -> str:
        numbers = self._store.numbers()
        if not numbers:
            return "There is no checkpoint yet"
        return f"The last good checkpoint is {self._store.path(numbers[-1])}"


def require_same_everywhere(task: Task, peers: Peers, label: str) -> None:
    """Raise `RanksError`, naming the training and what differs, unless all ranks have ended it with the same
    bits."""
    if peers.size > 1:
        held = digests_of(task.module, "module") | digests_of(task.memory, "memory")
        if task.average is not None:
            held |= {f"ema.{name}": digest({"": value}) for name, value in task.average.tensors.items()}
        peers.require_same(held, f"{label} after its training")


def memory_of(rank: int) -> str:
    """The group of the memory in a checkpoint; other ranks than the first save what is theirs alone."""
    return f"memory-of-rank-{rank}" if rank else "memory"


def required_space(task: Task, config: TrainConfig, folder: Path) -> int:
    """Bytes of the checkpoints still to come: those kept and the one being written, without those there."""

    def size(tensors: dict[str, Tensor]) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    weights = size(tensors_of(task.module, "module"))
    slots = 2 if config.optimizer == "adamw" else int(config.momentum > 0)
    slots += task.average is not None
    one = weights * (1 + slots) + size(tensors_of(task.memory, "memory"))
    return one * max(1, KEPT + 1 - len(CheckpointStore(folder).numbers()))
