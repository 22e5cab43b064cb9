"""Weights to and from files, without ever running what a file holds."""

import argparse
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..common import atomically

# Published checkpoints put the weights beside the epoch and the accuracy, under one of these.
_CONTAINERS = ("state_dict", "model", "model_state_dict", "weights")


class LoadReport(NamedTuple):
    """What a load left aside; all empty after a strict one.

    Attributes:
        missing: names the module has and the file has not.
        unexpected: names the file has and the module has not.
        mismatched: names of both, with different shapes.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]


def load_weights(module: nn.Module, path: str | os.PathLike[str], *, strict: bool = True) -> LoadReport:
    """Loads a file's weights into a module, all of them or none.

    Args:
        module: changed in place; keeps its devices and dtypes.
        path: see `read_weights`.
        strict: every name and shape must fit. Otherwise what fits is loaded and the rest reported.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read safely, holds NaN or infinity, or does not fit the module: the
            message lists missing and unexpected names, and both shapes where they differ.
    """
    return load_state(module, read_weights(path), strict=strict, source=str(path))


def load_state(
    module: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True, source: str = "the state"
) -> LoadReport:
    """Loads named tensors into a module as `load_weights` does; `source` names them in messages."""
    own = module.state_dict()
    unexpected = tuple(name for name in state if name not in own)
    mismatched = tuple(name for name in state if name in own and state[name].shape != own[name].shape)
    # A tensor under several names is stored under one of them.
    arrived = {_identity(own[name]) for name in state if name in own}
    missing = tuple(name for name in own if name not in state and _identity(own[name]) not in arrived)
    fitting = {name: t for name, t in state.items() if name in own and name not in mismatched}
    shapes = [f"{n} {tuple(state[n].shape)} where the module has {tuple(own[n].shape)}" for n in mismatched]
    if strict and (missing or unexpected or mismatched):
        raise ValueError(
            f"{source} does not fit {type(module).__name__}"
            f"{_listed('missing', missing)}{_listed('unexpected', unexpected)}{_listed('shapes', shapes)}"
        )
    if not fitting:
        raise ValueError(
            f"{source} has nothing that fits {type(module).__name__}: it starts with {list(state)[:3]}, "
            f"the module with {list(own)[:3]}"
        )
    for name, tensor in fitting.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{source}: '{name}' holds NaN or infinity")
    module.load_state_dict(fitting, strict=False)
    return LoadReport(missing, unexpected, mismatched)


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Reads named tensors from a `.safetensors` file, or from one that `torch.save` wrote.

    A pickle is read with `weights_only=True`: code in it is refused, never run. Weights that lie inside a
    dictionary under "state_dict" or "model" are found, and the "module." that DDP puts before each name is
    taken off.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is broken, holds objects other than tensors, or no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    content: object
    if path.suffix == ".safetensors":
        try:
            content = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is no whole safetensors file: {error}") from error
    else:
        try:
            # Training scripts put their arguments beside the weights: attributes and no code.
            with torch.serialization.safe_globals([argparse.Namespace]):
                content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            # The first line says what was found; the rest advises to switch the check off.
            found = str(error).splitlines()[0]
            raise ValueError(
                f"{path} is refused: it is no weights file, or holds objects other than tensors, and reading "
                f"those would run code ({found}). Trusted files: save them as safetensors first"
            ) from error
        except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
            raise ValueError(f"{path} cannot be read as weights (cut off or damaged?): {error}") from error
    return _tensors(content, path)


def save_weights(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes a module's `state_dict` as safetensors, whole or not at all.

    A tensor that lies under several names (tied weights) is written once, under the first; loading into a
    module that ties the same names restores all of them.

    Args:
        module: on any device; it is not moved.
        path: ends in `.safetensors`; folders on the way are made, a file there is replaced.

    Raises:
        ValueError: for another suffix, or a state that is not all tensors.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are written as .safetensors, got {path.name!r}")
    tensors: dict[str, Tensor] = {}
    stored = set()
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise ValueError(f"'{name}' of {type(module).__name__} is {type(value).__name__}, no tensor")
        if _identity(value) not in stored:
            stored.add(_identity(value))
            # Views of one storage must not share it in the file.
            tensors[name] = value.detach().cpu().contiguous().clone()
    with atomically(path) as made:
        save_file(tensors, made, metadata={"format": "pt"})


def _identity(tensor: Tensor) -> tuple[object, ...]:
    if tensor.numel() == 0 or tensor.is_meta:
        return (id(tensor),)
    return (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds {type(content).__name__}, where named tensors are needed")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{path}: entry {name!r} is {type(value).__name__}, where tensors are needed")
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): value for name, value in content.items()}


def _listed(title: str, names: Iterable[str], limit: int = 8) -> str:
    names = list(names)
    if not names:
        return ""
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return f"; {title}: {', '.join(names[:limit])}{more}"
