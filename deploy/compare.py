"""Whether an exported network gives what the network itself gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common import CrdkitError

Runner = Callable[[Tensor], Mapping[str, Tensor]]
"""Images (B, C, H, W) to named outputs."""


class ExportError(CrdkitError):
    """An export is impossible, or gives other numbers than the network; it was not kept."""


@dataclass(frozen=True)
class Difference:
    """The largest difference of one output."""

    output: str
    largest: float
    """Absolute."""
    relative: float
    """To the largest absolute value of the output."""
    place: tuple[int, ...]
    """Indices in the output, the sample first."""

    def in_words(self, class_names: Sequence[str] = ()) -> str:
        """`logits differ by 0.02 (relative 1e-3) at sample 3, class chair, row 5, column 7`."""
        sample, *rest = self.place
        at = f"sample {sample}"
        if self.output == "logits":
            number, *pixel = rest
            named = class_names[number] if number < len(class_names) else number
            at += f", class {named}" + (f", row {pixel[0]}, column {pixel[1]}" if pixel else "")
        elif rest:
            at += f", component {', '.join(map(str, rest))}"
        return f"{self.output} differ by {self.largest:.3g} (relative {self.relative:.2g}) at {at}"


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[Difference]:
    """The largest difference of each output, which is infinite where a number is NaN or infinite.

    Raises:
        ExportError: outputs of other names or shapes.
    """
    if expected.keys() != found.keys():
        raise ExportError(f"it gives {', '.join(found)} instead of {', '.join(expected)}")
    differences = []
    for name, wanted in expected.items():
        got = found[name]
        if got.shape != wanted.shape:
            raise ExportError(f"its {name} are {tuple(got.shape)} instead of {tuple(wanted.shape)}")
        gap = (got.double() - wanted.double()).abs().nan_to_num(nan=torch.inf)
        place = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
        largest = float(gap.max())
        scale = max(float(wanted.abs().max()), torch.finfo(torch.float32).tiny)
        differences.append(Difference(name, largest, largest / scale, place))
    return differences


def run_on(run: Runner, samples: Tensor, *, dynamic_batch: bool) -> dict[str, Tensor]:
    """A runner's outputs of all samples: one at a time, or if it takes any number, the first alone and the
    rest together."""
    sizes = [1] * len(samples)
    if dynamic_batch and len(samples) > 1:
        sizes = [1, len(samples) - 1]
    parts = [run(part) for part in samples.split(sizes)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
