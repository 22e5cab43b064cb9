"""Weights to and from files, without ever running what a file holds."""

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..common import UserError, atomically
from .checkpoints import find_state, read_file, split_entry
from .description import METADATA, Description, parse_description
from .integrity import check_tensors
from .names import fit_names, is_counter, unwrap_all, without_wrappers
from .normalized import Normalized, bare_state, is_normalization, require_bare


class LoadedWeights(NamedTuple):
    """Weights in memory, read once, with what their origin says of them.

    Attributes:
        state: named tensors, under the names of the file.
        weights: the argument that named them: a file's path, or the name of published weights.
        source: their origin, for messages.
        metadata: of a safetensors file; {} for others.
    """

    state: dict[str, Tensor]
    weights: str
    source: str
    metadata: Mapping[str, str] = {}

    @property
    def is_file(self) -> bool:
        """Whether they are of a file, and not published weights by their name."""
        return is_file_name(self.weights)

    @property
    def description(self) -> Description | None:
        """Description in the file, None if it has none. Raises `ValueError` if it cannot be read."""
        return parse_description(self.metadata, str(split_entry(self.weights)[0]))


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


def load_weights(
    module: nn.Module, path: str | os.PathLike[str], *, strict: bool = True, bare: bool = False
) -> LoadReport:
    """Loads a file's weights into a module, all of them or none.

    Args:
        module: changed in place; keeps its devices and dtypes. A `Normalized` module gets the normalization
            that the file tells, too.
        path: see `read_weights`.
        strict: every name and shape must fit. Otherwise what fits is loaded and the rest reported.
        bare: take the weights of a file that tells its normalization into a module that has none: the caller
            normalizes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read safely, holds NaN or infinity, or does not fit the module: the
            message lists missing and unexpected names, and both shapes where they differ. Or it tells its
            normalization, and the module has none.
    """
    loaded = open_file(path)
    state, described = loaded.state, loaded.description
    normalized = [part for part in module.modules() if isinstance(part, Normalized)]
    if not bare and not normalized and not any(map(is_normalization, module.state_dict())):
        require_bare(state, described, str(path))
    report = load_state(module, state, strict=strict, source=str(path))
    if described is not None and described.mean is not None and described.std is not None and normalized:
        figures: Any = normalized[0].normalize
        for own, told in ((figures.mean, described.mean), (figures.std, described.std)):
            own.data.copy_(torch.tensor(told).view(own.shape))
    return report


def load_state(
    module: nn.Module, state: Mapping[str, Tensor], *, strict: bool = True, source: str = "the state"
) -> LoadReport:
    """Loads named tensors into a module as `load_weights` does; `source` names them in messages.

    What stands before the module's own names in those of the state comes off: a wrapper's (`module.`,
    `_orig_mod.`) at any depth, and one prefix, such as `backbone.` or `encoder_q.`, under which the state has
    most of the module's names. Other entries of such a state are left out with a warning. Counts (of batches,
    averaged models, a profiler's operations) may be missing or too many.
    """
    own = module.state_dict()
    state = fit_state(module, state, source=source)
    unexpected = tuple(name for name in state if name not in own)
    mismatched = tuple(name for name in state if name in own and state[name].shape != own[name].shape)
    # A tensor under several names is stored under one of them.
    arrived = {_identity(own[name]) for name in state if name in own}
    missing = tuple(
        name
        for name in own
        if name not in state and _identity(own[name]) not in arrived and not is_counter(name)
    )
    fitting = {name: t for name, t in state.items() if name in own and name not in mismatched}
    shapes = [f"{n} {tuple(state[n].shape)} where the module has {tuple(own[n].shape)}" for n in mismatched]
    if strict and (missing or unexpected or mismatched):
        raise UserError(
            f"{source} does not fit {type(module).__name__}"
            f"{_listed('missing', missing)}{_listed('unexpected', unexpected)}{_listed('shapes', shapes)}"
        )
    if not fitting:
        raise UserError(
            f"{source} has nothing that fits {type(module).__name__}: it starts with {list(state)[:3]}, "
            f"the module with {list(own)[:3]}"
        )
    for name, tensor in fitting.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{source}: '{name}' holds NaN or infinity")
    module.load_state_dict(fitting, strict=False)
    return LoadReport(missing, unexpected, mismatched)


def fit_state(module: nn.Module, state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """The state under the module's own names, as far as it has them; see `load_state`."""
    fitted, prefix, left_out = fit_names(state, module.state_dict())
    if left_out:
        warnings.warn(
            f"{source}: what is under {prefix!r} is loaded into {type(module).__name__}"
            f"{_listed('left out', left_out, 4)}",
            stacklevel=2,
        )
    return fitted


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the named tensors of a file; see `open_file`."""
    return open_file(path).state


def open_file(path: str | os.PathLike[str]) -> LoadedWeights:
    """Read a `.safetensors` file, or one that `torch.save` wrote, once: named tensors and metadata.

    A pickle is read with `weights_only=True`: code in it is refused, never run. Plain values beside the
    weights (numbers, NumPy's too, paths, arguments) are passed over. Weights that lie inside a dictionary
    ("state_dict", "model", "net", …, or one of its own inside these) are found; of several sets one is read,
    and a warning says which. What DDP and torch.compile put before each name is taken off.

    Args:
        path: the file; `FILE#ENTRY` reads one entry of it, such as `FILE#model_ema` or `FILE#model.encoder`,
            or the names that begin with it, `FILE#encoder_k`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged (the checksums of its archive are compared), claims more than it has,
            holds objects that are neither tensors nor plain (they are named), or no weights.
    """
    weights, (path, entry) = os.fspath(path), split_entry(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    content, metadata = read_file(path)
    found, begin = find_state(content, path, entry)
    check_tensors(found, path)
    state = unwrap_all(found)
    if not begin:
        return LoadedWeights(state, weights, weights, metadata)
    begin = f"{without_wrappers(begin)}."
    chosen = {name.removeprefix(begin): t for name, t in state.items() if name.startswith(begin)}
    if not chosen:
        begins = dict.fromkeys(name.split(".", 1)[0] for name in state)
        raise UserError(f"{path} has no weights called {entry!r}; they begin with {', '.join([*begins][:8])}")
    return LoadedWeights(chosen, weights, weights, metadata)


def is_file_name(weights: str | os.PathLike[str]) -> bool:
    """Whether `weights` of `create` is a file's path and not the name of published weights."""
    return bool(Path(weights).suffix) or os.sep in os.fspath(weights)


def save_weights(
    module: nn.Module, path: str | os.PathLike[str], *, description: Description | None = None
) -> None:
    """Writes a module's `state_dict` as safetensors, whole or not at all.

    A tensor that lies under several names (tied weights) is written once, under the first; loading into a
    module that ties the same names restores all of them.

    Args:
        module: on any device; it is not moved.
        path: ends in `.safetensors`; folders on the way are made, a file there is replaced.
        description: what the module is. It is written into the file, and the normalization that it tells is
            left out of the weights, which so have the names of the bare network: timm's of one of timm's.

    Raises:
        ValueError: for another suffix, or a state that is not all tensors.
    """
    path, metadata = Path(path), {"format": "pt"}
    if path.suffix != ".safetensors":
        raise UserError(f"weights are written as .safetensors, got {path.name!r}")
    tensors: dict[str, Tensor] = {}
    stored = set()
    state = module.state_dict()
    if description is not None:
        # Alone: safetensors writes several entries in an order that changes, and equal runs give equal files.
        metadata = {METADATA: json.dumps(description.as_dict())}
        state = bare_state(module) if description.mean is not None else state
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise UserError(f"'{name}' of {type(module).__name__} is {type(value).__name__}, no tensor")
        if _identity(value) not in stored:
            stored.add(_identity(value))
            # Views of one storage must not share it in the file.
            tensors[name] = value.detach().cpu().contiguous().clone()
    with atomically(path) as made:
        save_file(tensors, made, metadata=metadata)


def _identity(tensor: Tensor) -> tuple[object, ...]:
    if tensor.numel() == 0 or tensor.is_meta:
        return (id(tensor),)
    return (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())


def _listed(title: str, names: Iterable[str], limit: int = 8) -> str:
    names = list(names)
    if not names:
        return ""
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return f"; {title}: {', '.join(names[:limit])}{more}"
