"""What lies in a file of weights, read without ever running any of it."""

import os
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..common import UserError
from .integrity import check_archive
from .names import without_wrappers

# Where trainers put the weights, beside the epoch and the accuracy; of several the first is read.
_CONTAINERS = (
    *("state_dict", "model", "model_state_dict", "weights", "net", "network", "model_state", "params"),
    *("module", "student", "teacher"),
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "params_ema"),
)


class _Nothing:
    """Stands for a value that is no weight: it takes whatever the file says of it, and keeps none of it."""

    def __new__(cls, *_args: object, **_kwargs: object) -> "_Nothing":
        return super().__new__(cls)

    def __init__(self, *_args: object, **_kwargs: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


class _Dict:
    """Makes a dictionary of what was another kind of dictionary."""

    def __new__(cls, *_args: object) -> Any:
        return OrderedDict()


class _List:
    """Makes a list of what was another kind of sequence."""

    def __new__(cls, *_args: object) -> Any:
        return []


_PLAIN: Mapping[type, tuple[str, ...]] = {
    _Nothing: (
        *(
            f"numpy.{core}.multiarray.{name}"
            for core in ("core", "_core")
            for name in ("scalar", "_reconstruct")
        ),
        *("numpy.dtype", "numpy.ndarray", "argparse.Namespace", "types.SimpleNamespace"),
        *(
            f"{home}.{kind}"
            for home in ("pathlib", "pathlib._local", "pathlib._pathlib")
            for kind in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
        ),
        *(f"datetime.{kind}" for kind in ("date", "time", "datetime", "timedelta", "timezone")),
        *("decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
        *(f"builtins.{kind}" for kind in ("list", "dict", "int", "float", "str", "bool", "tuple")),
        *("builtins.range", "builtins.slice", "builtins.frozenset"),
    ),
    _Dict: (
        *("collections.defaultdict", "easydict.EasyDict"),
        *("yacs.config.CfgNode", "fvcore.common.config.CfgNode"),
        *(
            f"{home}.AttributeDict"
            for home in (
                "lightning.fabric.utilities.data",
                "lightning_fabric.utilities.data",
                "pytorch_lightning.utilities.parsing",
            )
        ),
    ),
    _List: ("collections.deque",),
}
# What trainers keep beside the weights, by its name in a pickle, and what is made of it here.
_SAFE = [(made, name) for made, names in _PLAIN.items() for name in names]


def split_entry(weights: str | os.PathLike[str]) -> tuple[Path, str]:
    """The file that `FILE` or `FILE#ENTRY` means, and the entry, empty if there is none."""
    path = Path(weights)
    if path.is_file() or "#" not in path.name:
        return path, ""
    name, _, entry = path.name.rpartition("#")
    return path.with_name(name), entry


def read_file(path: Path) -> tuple[object, Mapping[str, str]]:
    """Read a file of weights, once.

    Returns:
        Its tensors with the plain values beside them, which are left empty; and the metadata of a
        safetensors file, {} for others.

    Raises:
        ValueError: the file is damaged, claims more than it has, or holds what is neither a tensor nor plain:
            that is named.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:
                names = opened.keys()
                return {name: opened.get_tensor(name) for name in names}, opened.metadata() or {}
        check_archive(path)
        with torch.serialization.safe_globals(_SAFE):  # type: ignore[arg-type]
            return torch.load(path, map_location="cpu", weights_only=True), {}
    except pickle.UnpicklingError as error:
        # The error itself, chained, would advise to switch the check off.
        raise UserError(
            f"{path} is refused: {_found(path, str(error))}. Nothing of it was run. Weights alone can be "
            "read: a state_dict of tensors, best as safetensors"
        ) from None
    except SafetensorError as error:
        raise UserError(f"{path} is no whole safetensors file: {error}") from error
    except Exception as error:  # torch raises many kinds for a damaged file, assertions among them
        if "TorchScript" in str(error):
            raise UserError(
                f"{path} is a TorchScript archive: a program, not weights. Weights alone can be read: its "
                "state_dict, best as safetensors"
            ) from None
        reason = shorten(str(error) or type(error).__name__, 160, placeholder=" …")
        raise UserError(f"{path} cannot be read as weights (cut off or damaged?): {reason}") from error


def _found(path: Path, message: str) -> str:
    """What a file holds that is neither a tensor nor plain."""
    try:
        with torch.serialization.safe_globals(_SAFE):  # type: ignore[arg-type]
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        # Files of before 2020, damaged ones, and pickles that torch did not write: the first one is known.
        names = re.findall(r"GLOBAL (\S+)", message)
    if names:
        more = f" and {len(names) - 8} others" if len(names) > 8 else ""
        return f"it holds {', '.join(names[:8])}{more}, which is neither a tensor nor a plain value"
    reason = message.rsplit("WeightsUnpickler error: ", 1)[-1].strip().splitlines()
    return f"it is no file of weights ({reason[0] if reason else 'not a pickle'})"


def find_state(content: object, path: Path, entry: str = "") -> tuple[Mapping[str, Tensor], str]:
    """The named tensors in what a file holds, however deep trainers put them.

    Args:
        content: what the file holds.
        path: names the file in messages.
        entry: where to look, words with dots between; what is left when they lead no deeper is a name's
            beginning.

    Returns:
        The named tensors, and what is left of `entry`.

    Raises:
        ValueError: there are none.
    """
    words = entry.split(".") if entry else []
    place: list[str] = []
    while words and isinstance(content, Mapping) and isinstance(content.get(words[0]), Mapping):
        place.append(words.pop(0))
        content = content[place[-1]]
    while not _is_state(content):
        options = dict(_options(content))
        if not options:
            raise UserError(f"{path}: {_wrong(content)}, where named tensors are needed")
        used = next((key for key in _CONTAINERS if key in options), None)
        if used is None and len(options) > 1:
            # Parts of one network, which are named after their places.
            return {f"{key}.{name}": t for key, part in options.items() for name, t in _flat(part)}, ".".join(
                words
            )
        used = used or next(iter(options))
        if not words:
            _tell_others(path, place, used, options)
        place.append(used)
        content = options[used]
    assert isinstance(content, Mapping)
    return content, ".".join(words)


def _is_state(value: object) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(key, str) and isinstance(item, Tensor) for key, item in value.items())


def _options(content: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries that are named tensors, or lead to some."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if not isinstance(key, str) or not isinstance(value, Mapping):
                continue
            # An optimizer's state is made of tensors, too.
            if not key.startswith("optim") and (_is_state(value) or any(True for _ in _options(value))):
                yield key, value


def _flat(content: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    if _is_state(content):
        yield from content.items()
    else:
        for key, part in _options(content):
            yield from ((f"{key}.{name}", tensor) for name, tensor in _flat(part))


def _weight_names(content: Mapping[str, Any]) -> set[str]:
    """Of all named tensors inside, without their places and wrappers."""
    if _is_state(content):
        return {without_wrappers(name) for name in content}
    return {name for _, part in _options(content) for name in _weight_names(part)}


def _tell_others(path: Path, place: list[str], used: str, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Say which of several sets of the same weights is read."""
    names = _weight_names(options[used])
    alike = [
        ".".join((*place, key))
        for key, part in options.items()
        if key != used and len(names & _weight_names(part)) > len(names) / 2
    ]
    if alike:
        warnings.warn(
            f"{path} holds several sets of weights: {'.'.join((*place, used))!r} is read; write "
            f"{' or '.join(f'{path.name}#{key}' for key in alike)} for another",
            stacklevel=2,
        )


def _wrong(content: object) -> str:
    """What stands in the place of named tensors."""
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        return f"it holds {type(content).__name__}"
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            return f"entry {name!r} is {'no tensor' if isinstance(value, _Nothing) else type(value).__name__}"
    raise AssertionError("named tensors after all")
