"""Saves of checkpoints that are killed, in processes of their own; a child finds this module by its name."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from crdkit.engine import CheckpointStore


def tensors(number: int) -> dict[str, dict[str, Tensor]]:
    return {
        "model": {"weight": torch.full((3, 2), float(number)), "count": torch.tensor(number)},
        "memory": {},
    }


def filled(folder: Path, count: int) -> CheckpointStore:
    store = CheckpointStore(folder)
    for number in range(1, count + 1):
        store.save(tensors(number), {"step": number})
    return store


def save_and_die(folder: Path, operation: int) -> None:
    """Save a third checkpoint, killed before one of the operations on the file system."""
    count = 0

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def called(*arguments: object, **options: object) -> object:
            nonlocal count
            if count == operation:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return function(*arguments, **options)

        return called

    for name in ("fsync", "rename", "replace", "unlink", "mkdir"):
        setattr(os, name, dying(getattr(os, name)))
    store = CheckpointStore(folder)
    store.newest_whole()
    store.save(tensors(3), {"step": 3})


def die_at_every_operation(folder: Path) -> None:
    """In folders named 0, 1, 2, ...; until a save comes to its end."""
    for operation in range(100):
        filled(folder / str(operation), 2)
        child = os.fork()
        if child == 0:
            save_and_die(folder / str(operation), operation)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return
    raise AssertionError("the save has more operations than were tried")
