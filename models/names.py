"""The names of weights in a file, matched with those of a network."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from torch import Size, Tensor

# What DDP, DataParallel, averaging, torch.compile, FSDP and checkpointed activations put around a module.
_WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
CHOSEN = "chosen_layers"
"""The mark of `ChosenLayers` among the weights."""

# Counts of batches, of averaged models and of a profiler's operations are no weights, nor is a mark.
_COUNTERS = frozenset(("num_batches_tracked", "n_averaged", "total_ops", "total_params", CHOSEN))


class Fitted(NamedTuple):
    """A state under the names of a network.

    Attributes:
        state: by the network's names what fits, and the rest of the same part of the file.
        prefix: what stood before those names in the file.
        left_out: names of other parts of the file.
    """

    state: dict[str, Tensor]
    prefix: str
    left_out: tuple[str, ...]


def is_counter(name: str) -> bool:
    """Whether a name is that of a count or a mark, which a network does without."""
    return name.rpartition(".")[2] in _COUNTERS


def without_wrappers(name: str) -> str:
    """The name without what wrappers put into it, at any depth."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def unwrap_all(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without the wrappers at the beginning of its names, if all but counts have one there."""
    weights = [name for name in state if not is_counter(name)]
    if not weights or any(name.split(".", 1)[0] not in _WRAPPERS for name in weights):
        return dict(state)
    bare = {}
    for name, value in state.items():
        while name.split(".", 1)[0] in _WRAPPERS and "." in name:
            name = name.split(".", 1)[1]
        bare[name] = value
    return bare


def fit_names(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Fitted:
    """The state of a file under a network's own names.

    Wrappers come off on both sides, at any depth. If that is not enough, the prefix is looked for under which
    the file has most of the network's names: the network was a part of a larger one, which is left out.
    Counts that the network has not are left out without a word.

    Args:
        own: the network's state.
    """
    if {name for name in state if not is_counter(name)} <= own.keys():
        return Fitted(_without_counts(state, own), "", ())
    plain, stored = ({without_wrappers(name): name for name in names} for names in (own, state))
    if len(plain) < len(own) or len(stored) < len(state):
        # A network and its average have the same names behind the wrappers.
        plain, stored = ({name: name for name in names} for names in (own, state))
    prefix = _prefix(
        {name: state[was].shape for name, was in stored.items()},
        {name: own[was].shape for name, was in plain.items()},
    )
    fitted, left_out = {}, []
    for name, was in stored.items():
        if name.startswith(prefix):
            bare = name.removeprefix(prefix)
            fitted[plain.get(bare, bare)] = state[was]
    for name, was in stored.items():
        if not name.startswith(prefix):
            if name in plain and plain[name] not in fitted:
                fitted[plain[name]] = state[was]
            else:
                left_out.append(was)
    rest = tuple(name for name in left_out if not is_counter(name))
    return Fitted(_without_counts(fitted, own), prefix, rest)


def _without_counts(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without the counts that the network has not."""
    return {name: value for name, value in state.items() if name in own or not is_counter(name)}


def _prefix(stored: Mapping[str, Size], own: Mapping[str, Size]) -> str:
    """The prefix with most of a network's names, of several the one with most of its shapes, of these the
    first; "" for less than half of the names."""
    number = sum(not is_counter(name) for name in own)
    names: Counter[str] = Counter()
    shapes: Counter[str] = Counter()
    for name, shape in stored.items():
        parts = name.split(".")
        for begin in range(len(parts)):
            bare = ".".join(parts[begin:])
            if bare in own and not is_counter(bare):
                prefix = ".".join((*parts[:begin], ""))
                names[prefix] += 1
                shapes[prefix] += own[bare] == shape
    best = max(names, key=lambda prefix: (names[prefix], shapes[prefix]), default="")
    return best if names[best] > max(number / 2, names[""]) else ""
