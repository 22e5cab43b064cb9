"""The trainings of one run: each in its own folder, or taken over from a run that has done the same."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import Dataset

from ..common import Artifact, ManifestError, atomically, differences, plain, write_json
from .config import TrainConfig
from .errors import CheckpointError, ResumeError
from .evaluate import Evaluate
from .finished import HISTORY, MODEL, drop_weights, with_nan
from .launch import from_main
from .loop import train
from .optimization import OptimizerFactory, Schedule
from .progress import Progress
from .task import Task

VALUES = "values.json"


class StageRunner:
    """Trains the stages of a run, or loads them if they are finished.

    A stage is known by its settings and by what is in the files it reads, not by where they lie.

    Args:
        folder: the run folder; each stage has its own folder inside.
        accelerator: device, processes and precision.
        reuse: other run folders, whose finished stages are copied if everything agrees.
        fingerprint: JSON values that every stage of the run depends on, such as the data.

    Raises:
        FileNotFoundError: a folder of `reuse` is not there.
    """

    def __init__(
        self,
        folder: str | Path,
        accelerator: Accelerator,
        *,
        reuse: Sequence[Path] = (),
        fingerprint: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.accelerator, self.reuse = Path(folder), accelerator, tuple(map(Path, reuse))
        self.cache = self.folder / "cache"
        """What the run's own later stages read, and nobody after it."""
        for other in self.reuse:
            if not other.is_dir():
                raise FileNotFoundError(f"there is no run folder {other} to reuse")
        self.fingerprint: dict[str, Any] = plain(fingerprint or {})
        self.progress = Progress()
        """Progress of the whole run; a pipeline sets it."""
        self._passed_over: set[tuple[Path, str]] = set()

    def train(
        self,
        stage: str,
        task: Task,
        dataset: Dataset[Any],
        config: TrainConfig,
        seed: int,
        *,
        fingerprint: Mapping[str, Any] | None = None,
        evaluate: Evaluate | None = None,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
    ) -> list[dict[str, Any]]:
        """Train the stage in `folder / stage`, or load it finished; returns its history.

        Args:
            fingerprint: JSON values that this stage depends on, beside the run's.
            task, dataset, config, seed, evaluate, optimizer, schedule: as for `crdkit.engine.train`, whose
                errors it raises.
        """
        known = plain({**self.fingerprint, **(fingerprint or {})})

        def run(folder: Path, *, retrain: bool) -> list[dict[str, Any]]:
            history = train(
                task,
                dataset,
                config,
                folder,
                accelerator=self.accelerator,
                seed=seed,
                evaluate=evaluate,
                label=stage,
                fingerprint=known,
                optimizer=optimizer,
                schedule=schedule,
                progress=self.progress,
                retrain=retrain,
            )
            self.progress.complete(stage)
            return history

        own = self.folder / stage
        for other in () if own.exists() else self.reuse:
            if not (other / stage / HISTORY).exists():
                if (other / stage).exists():
                    self._pass_over(stage, other, "it is not finished")
                continue
            try:
                history = run(other / stage, retrain=False)
            except ResumeError as error:
                self._pass_over(stage, other, error.what.replace(str(other / stage), "it"))
                continue
            # No rank looks whether the stage is there while another makes it.
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                with atomically(own) as made:
                    shutil.copytree(other / stage, made)
            self.accelerator.wait_for_everyone()
            return history
        return run(own, retrain=True)

    def _pass_over(self, stage: str, other: Path, why: str) -> None:
        """Tell why a stage of another run is not taken; what is true of many stages, once."""
        told = "likewise" if (other, why) in self._passed_over else why
        self._passed_over.add((other, why))
        self.accelerator.print(f"{stage} of {other} is not reused: {told}")

    def drop_weights(self, stage: str, kept: Mapping[str, Any] | None = None) -> None:
        """Delete a finished stage's weights, once every process has them; see `Task.restore` for `kept`."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            drop_weights(self.folder / stage, kept)

    def tidy(self, keep: str) -> None:
        """Delete what a finished command needs no longer: the run's own cache unless `keep` is `all`, the
        weights of all stages if it is `none`."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process or keep == "all":
            return
        shutil.rmtree(self.cache, ignore_errors=True)
        if keep == "none":
            for weights in sorted(self.folder.rglob(f"*/{MODEL}")):
                drop_weights(weights.parent)

    def keep(
        self, name: str, fingerprint: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """JSON values that are computed once, and kept in the folder `name` with what they depend on.

        Values of another fingerprint are computed anew, and those of `reuse` passed over.

        Args:
            compute: called on every process, if on any; the main process's values count.

        Raises:
            CheckpointError: the kept values are damaged.
        """
        known = plain({**self.fingerprint, **fingerprint})
        found: dict[str, Any] | None = None
        if self.accelerator.is_main_process:
            places = (folder / name for folder in (self.folder, *self.reuse))
            found = next((values for place in places if (values := _kept(place, known)) is not None), None)
        found = from_main(self.accelerator, found)
        values = from_main(self.accelerator, plain(compute())) if found is None else found
        own = self.folder / name
        if self.accelerator.is_main_process and (found is None or not own.exists()):
            _keep(own, known, values)
        return values


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's generators of the CPU and of the current GPU in the body; restore them afterwards."""
    # Other GPUs, which may belong to other processes, are neither read nor seeded.
    devices = (
        [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    )
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield


def last_and_best(history: Sequence[Mapping[str, Any]], *names: str) -> dict[str, float]:
    """`name` of the last evaluated epoch and `best_name`, the largest of all, for each name in a history."""
    found: dict[str, float] = {}
    for name in names:
        scores = [row[name] for row in history if name in row]
        found |= {name: scores[-1], f"best_{name}": max(scores)}
    return found


def _keep(folder: Path, fingerprint: Mapping[str, Any], values: Any) -> None:
    Artifact.delete(folder)
    with Artifact.write(folder, fingerprint) as made:
        write_json(made / VALUES, values)


def _kept(folder: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of a folder of `StageRunner.keep`; None if it is absent or of another fingerprint."""
    if not folder.is_dir():
        return None
    try:
        if differences(Artifact.open(folder).fingerprint, fingerprint):
            return None
        values: dict[str, Any] = with_nan(json.loads((folder / VALUES).read_bytes()))
        return values
    except (ManifestError, OSError, ValueError) as error:
        raise CheckpointError(f"cannot read what is kept in {folder}: {error}; delete the folder") from error
