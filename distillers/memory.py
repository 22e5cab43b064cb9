"""Memory that a method needs, known from the numbers alone: before its term is built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from ..contrast import maps_state_bytes

Maker = TypeVar("Maker", bound=Callable[..., Any])


class DataSize(NamedTuple):
    """Sizes of a training that decide what a method stores."""

    num_samples: int
    """Number M of training samples."""
    batch_size: int
    """Samples of a batch on one rank."""
    has_labels: bool = False
    """Whether the training has the class of every sample."""
    has_groups: bool = False
    """Whether the group (recording, scene) of every sample is known."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a method needs for one teacher, beside its networks and heads."""

    shared_state: int = 0
    """Bytes of buffers that the terms of several teachers share with `share_student`."""
    state: int = 0
    """Bytes of all other buffers."""
    state_place: Literal["device", "host", "other"] = "device"
    """Where the buffers are; "other" for a file, several ranks, or a place that is chosen at run time."""
    state_what: str = ""
    """What the buffers are, for messages; empty for small ones."""
    state_remedy: str = ""
    """Settings that make the buffers smaller."""
    batch: int = 0
    """Bytes of what is drawn for a batch, a lower bound."""
    batch_what: str = ""
    """What is drawn, for messages."""
    batch_remedy: str = ""
    """Settings that make that smaller."""

    def state_bytes(self, num_teachers: int = 1, *, share_student: bool = False) -> int:
        """Return the bytes of the buffers for several teachers."""
        return num_teachers * self.state + (1 if share_student else num_teachers) * self.shared_state


def estimated_by(estimate: Callable[..., MemoryEstimate]) -> Callable[[Maker], Maker]:
    """Declare how to compute the memory of a maker's terms: `estimate(size, **settings)`."""

    def declare(maker: Maker) -> Maker:
        maker.estimate = estimate  # type: ignore[attr-defined]
        return maker

    return declare


def estimate_of_maps(
    size: DataSize, method: str, *, embed_dim: int, queue_size: int, objective: str
) -> MemoryEstimate:
    """Return the memory of a contrast of maps, with its queues."""
    return MemoryEstimate(
        state=maps_state_bytes(
            size.num_samples, embed_dim, queue_size, objective, has_groups=size.has_groups
        ),
        state_what=f"queues, {queue_size} × {embed_dim}" if queue_size else "",
        state_remedy=f"lower {method}.queue_size or {method}.embed_dim",
    )
