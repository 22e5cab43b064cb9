"""Checkpoints that survive a kill at any moment, and a reader that trusts none of their bytes."""

import json
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from ..common import MANIFEST, Artifact, ManifestError, write_json
from .errors import CheckpointError
from .files import WRITE_ERRORS, read_tensors, write_tensors

PATTERN = re.compile(r"checkpoint-(\d{6,})")
STATE = "state.json"
KEPT = 2
_LEFT = ".tmp-"


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: groups of named tensors, and a state of JSON values."""

    number: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints in a folder, numbered in the order of saving; the two newest whole ones are kept.

    A checkpoint is a folder with a safetensors file for each group of tensors, `state.json`, and a manifest.
    It is written beside its place, flushed to the disk and renamed; only then are older ones deleted. Nothing
    in it is ever unpickled.

    Args:
        folder: where they are; created by the first save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.whole: list[int] = []

    def numbers(self) -> list[int]:
        """The numbers of the checkpoints in the folder, whole or not, in rising order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(match[1]) for p in self.folder.iterdir() if (match := PATTERN.fullmatch(p.name)))

    def path(self, number: int) -> Path:
        """The folder of a checkpoint."""
        return self.folder / f"checkpoint-{number:06d}"

    def save(self, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> Path:
        """Write a checkpoint, then delete those that are no longer needed.

        Raises:
            NonFiniteError: a tensor holds NaN or infinity.
            CheckpointError: it could not be written. The older ones stay, and nothing half-written does.
        """
        number = max([0, *self.numbers()]) + 1
        try:
            with Artifact.write(self.path(number), {}) as made:
                for name, group in tensors.items():
                    write_tensors(made / f"{name}.safetensors", group)
                for left in self.folder.glob(f"{_LEFT}*.safetensors"):
                    left.rename(made / left.name.removeprefix(_LEFT))
                write_json(made / STATE, state)
        except WRITE_ERRORS as error:
            kept = f"{self.path(self.whole[-1])} is kept" if self.whole else "there is no older one"
            raise CheckpointError(f"cannot write a checkpoint to {self.folder}: {error}; {kept}") from error
        self.whole = [*self.whole, number][-KEPT:]
        self._delete_others()
        return self.path(number)

    def leave(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Write a group of another rank's for the next checkpoint that the main one saves.

        Raises:
            NonFiniteError, CheckpointError: as of `save`.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tensors(self.folder / f"{_LEFT}{name}.safetensors", tensors)
        except WRITE_ERRORS as error:
            raise CheckpointError(f"cannot write a checkpoint to {self.folder}: {error}") from error

    def newest_whole(self, refused: Mapping[int, str] | None = None) -> int:
        """The newest checkpoint whose files are what its manifest says; 0 where there is none at all.

        Warns, naming what is wrong, for each broken one that it passes over.

        Args:
            refused: what is wrong with those that are whole and yet cannot be continued.

        Raises:
            CheckpointError: there are checkpoints, but every one is broken.
        """
        broken: list[str] = []
        for number in reversed(self.numbers()):
            fault = (refused or {}).get(number) or self.fault(number)
            if fault is None:
                for line in broken:
                    warnings.warn(f"{line}; using {self.path(number).name}, the one before", stacklevel=2)
                self.whole = [number]
                return number
            broken.append(fault)
        if broken:
            raise CheckpointError(
                f"no checkpoint is whole: {'; '.join(broken)}. Delete {self.folder} to start over"
            )
        return 0

    def fault(self, number: int) -> str | None:
        """What is wrong with a checkpoint, naming the file; None where it is whole."""
        folder = self.path(number)
        try:
            files = Artifact.open(folder).files
        except ManifestError as error:
            return str(error)
        return None if STATE in files else f"{folder / MANIFEST} does not list {STATE}"

    def load(self, number: int, groups: tuple[str, ...]) -> Checkpoint:
        """Read a checkpoint that `newest_whole` found: the named groups and the state, no other file."""
        folder = self.path(number)
        try:
            tensors = {name: read_tensors(folder / f"{name}.safetensors") for name in groups}
            return Checkpoint(number, tensors, json.loads((folder / STATE).read_bytes()))
        except (*WRITE_ERRORS, ValueError) as error:
            raise CheckpointError(f"cannot read {folder}: {error}") from error

    def clean(self) -> None:
        """Delete what a killed process left half-written."""
        if self.folder.is_dir():
            for path in self.folder.glob(".tmp-*"):
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True)

    def _delete_others(self) -> None:
        for number in self.numbers():
            if number not in self.whole:
                Artifact.delete(self.path(number))


def flatten_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors named "parameter.key" and, for what is no tensor, JSON values.

    The settings of the parameter groups are left out: they follow from the configuration.
    """
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for parameter, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            (tensors if isinstance(value, Tensor) else values)[f"{parameter}.{key}"] = value
    return tensors, values


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Put a state of `flatten_optimizer` into an optimizer over the same parameters."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **values}.items():
        parameter, key = name.split(".", 1)
        state.setdefault(int(parameter), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
