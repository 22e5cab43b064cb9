"""The trainings of one run: each in its own folder, or taken over from a run that has done the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Dataset

from .config import TrainConfig
from .errors import ResumeError
from .files import write_json
from .finished import HISTORY
from .loop import Evaluate, train
from .task import Task


class StageRunner:
    """Trains the stages of a run, or loads them where they are finished.

    A stage is known by its settings and by what is in the files it reads, not by where they lie.

    Args:
        folder: the run folder; each stage has its own folder inside.
        accelerator: device, processes and precision.
        reuse: other run folders, whose finished stages are copied where everything agrees.
        facts: JSON values that every stage of the run depends on, such as the data.
    """

    def __init__(
        self,
        folder: Path,
        accelerator: Accelerator,
        *,
        reuse: Sequence[Path] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.accelerator, self.reuse = folder, accelerator, tuple(reuse)
        self.facts = dict(facts or {})

    def train(
        self,
        stage: str,
        task: Task,
        dataset: Dataset[Any],
        config: TrainConfig,
        seed: int,
        *,
        facts: Mapping[str, Any] | None = None,
        evaluate: Evaluate | None = None,
    ) -> list[dict[str, Any]]:
        """Train the stage in `folder / stage`, or load it finished; returns its history.

        Args:
            facts: JSON values that this stage depends on, beside the run's.
            task, dataset, config, seed, evaluate: as for `crdkit.engine.train`, whose errors it raises.
        """
        fingerprint = _plain({**self.facts, **(facts or {})})

        def run(folder: Path) -> list[dict[str, Any]]:
            return train(
                task, dataset, config, folder, accelerator=self.accelerator, seed=seed, evaluate=evaluate,
                label=stage, fingerprint=fingerprint,
            )  # fmt: skip

        own = self.folder / stage
        for other in () if own.exists() else self.reuse:
            if (other / stage / HISTORY).exists():
                try:
                    history = run(other / stage)
                except ResumeError as error:
                    self.accelerator.print(f"{stage} of {other} is not reused. {error}")
                    continue
                if self.accelerator.is_main_process:
                    part = own.with_name(f".tmp-{own.name}")
                    shutil.rmtree(part, ignore_errors=True)
                    shutil.copytree(other / stage, part)
                    part.replace(own)
                self.accelerator.wait_for_everyone()
                return history
        return run(own)

    def keep(
        self, name: str, facts: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """JSON values that are computed once, and kept in `folder / name`.json with what they depend on.

        A file whose facts are others is overwritten, and one of `reuse` is passed over.
        """
        fingerprint = _plain({**self.facts, **facts})
        own, *others = (folder / f"{name}.json" for folder in (self.folder, *self.reuse))
        if (values := _kept(own, fingerprint)) is not None:
            return values
        found = (_kept(path, fingerprint) for path in others)
        values = next((kept for kept in found if kept is not None), None)
        values = compute() if values is None else values
        if self.accelerator.is_main_process:
            own.parent.mkdir(parents=True, exist_ok=True)
            write_json(own, {"facts": fingerprint, "values": values})
        return values


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights drawn inside depend on `seed` alone; the global generators are left as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def last_and_best(history: Sequence[Mapping[str, Any]], *names: str) -> dict[str, float]:
    """`name` of the last evaluated epoch and `best_name`, the largest of all, for each name in a history."""
    found: dict[str, float] = {}
    for name in names:
        scores = [row[name] for row in history if name in row]
        found |= {name: scores[-1], f"best_{name}": max(scores)}
    return found


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over named tensors, by which a stage knows the data and the networks it was made from."""
    total = hashlib.sha256()
    for name, tensor in tensors.items():
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _kept(path: Path, facts: Any) -> dict[str, Any] | None:
    """The values of a file of `StageRunner.keep`; None where it is absent or of other facts."""
    if not path.is_file():
        return None
    saved = json.loads(path.read_text())
    return saved["values"] if saved.get("facts") == facts else None


def _plain(value: Any) -> Any:
    """Tuples as lists and keys as strings, as JSON holds them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
