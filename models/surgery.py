"""Weights for another number of input channels or of classes than they were made for."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from ..common import UserError
from .normalized import without_normalization
from .weights import fit_state, load_state


class Ends(NamedTuple):
    """Names of the layers whose shapes follow the data.

    Attributes:
        stems: the convolutions that read the input.
        head: the layer that gives the logits.
        classifier: the part around the head that an encoder goes without; the head itself where it is alone.
    """

    stems: tuple[str, ...]
    head: str
    classifier: str


def find_ends(network: nn.Module) -> Ends:
    """The first convolution, the last layer and the child that it lies in, in the order of registration."""
    layers = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    stem = next(name for name, part in layers if isinstance(part, nn.Conv2d))
    head, _ = layers[-1]
    return Ends((stem,), head, head.split(".")[0])


def load_adapted(
    network: nn.Module, state: Mapping[str, Tensor], ends: Ends, *, source: str, new_head: bool = True
) -> None:
    """Loads weights as `load_state` does, and fits them to the network's input channels and classes.

    A stem of other input channels gets the sum of the old kernels over theirs, divided by its own number. A
    head of other classes is drawn anew; so is the whole classifier if the weights have none, or one of other
    layers, and theirs is left out if the network has none.

    Raises:
        ValueError: the rest does not fit, see `load_weights`; or without `new_head` the classes differ.
    """
    own = network.state_dict()
    state = fit_state(network, without_normalization(state), source=source)
    for stem in ends.stems:
        old, new = state.get(f"{stem}.weight"), own.get(f"{stem}.weight")
        if old is not None and new is not None and old.ndim == 4 and old.shape[1] != new.shape[1]:
            mean = old.sum(1, keepdim=True) / new.shape[1]
            state[f"{stem}.weight"] = mean.expand(-1, new.shape[1], -1, -1)

    old, new = state.get(f"{ends.head}.weight"), own.get(f"{ends.head}.weight")
    is_kin = any(name in own for name in state)  # weights of another network are told below
    if is_kin and not new_head and new is not None and (old is None or old.shape[0] != new.shape[0]):
        found = "no classifier" if old is None else f"{old.shape[0]} classes"
        raise UserError(
            f"{source} has {found}, {new.shape[0]} classes are needed; --teacher.replace-classifier, or "
            "new_head=True in Python, draws a last layer anew, which has to be trained"
        )
    if new is None:
        state = _without(state, ends.classifier)
    elif not any(name.startswith(f"{ends.classifier}.") and name in own for name in state):
        state = _without(state, ends.classifier) | _drawn(network, ends.classifier)
    elif old is not None and old.shape[0] != new.shape[0]:
        state = _without(state, ends.head) | _drawn(network, ends.head)
    load_state(network, state, source=source)


def _without(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(f"{part}.")}


def _drawn(network: nn.Module, part: str) -> dict[str, Tensor]:
    """The weights of a part, drawn anew."""
    for layer in network.get_submodule(part).modules():
        reset = getattr(layer, "reset_parameters", None)
        if callable(reset):
            reset()
    return {f"{part}.{name}": tensor for name, tensor in network.get_submodule(part).state_dict().items()}
