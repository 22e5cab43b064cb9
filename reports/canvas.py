"""What all pictures have in common: a figure without a display, colors of the classes, a file."""

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data import IGNORE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IGNORE_COLOR = (128, 128, 128)
# Far apart for the eye and in lightness too, so that neighbors differ in a gray print.
PALETTE = (
    (31, 119, 180),
    (255, 187, 120),
    (152, 223, 138),
    (214, 39, 40),
    (140, 86, 75),
    (255, 127, 14),
    (148, 103, 189),
    (227, 119, 194),
    (44, 160, 44),
    (188, 189, 34),
    (0, 0, 80),
    (199, 226, 240),
    (23, 190, 207),
)


def palette(num_classes: int) -> npt.NDArray[np.uint8]:
    """RGB colors of the classes, (max(num_classes, 13), 3): a fixed 13, then hues a golden angle apart."""
    extra = []
    for i in range(num_classes - len(PALETTE)):
        color = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.55 + 0.3 * (i % 2), 0.9 - 0.15 * (i % 3))
        extra.append(tuple(round(255 * channel) for channel in color))
    return np.array([*PALETTE, *extra], dtype=np.uint8)


def colorize(label: Any) -> npt.NDArray[np.uint8]:
    """Colors of a map of classes (H, W) as an image (H, W, 3); 255 is gray."""
    label = np.asarray(label)
    known = label != IGNORE
    colors = palette(int(label[known].max(initial=0)) + 1)
    image = np.empty((*label.shape, 3), dtype=np.uint8)
    image[:] = IGNORE_COLOR
    image[known] = colors[label[known]]
    return image


def named_colors(
    figure: "Figure", present: Sequence[int], class_names: Sequence[str], *, columns: int
) -> None:
    """A legend, below the figure, of the classes that are present."""
    from matplotlib.patches import Patch

    colors = palette(len(class_names)) / 255
    handles = [Patch(color=tuple(colors[c]), label=class_names[c]) for c in present]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), columns), fontsize=8)


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of that size in inches. matplotlib is imported here, on first use."""
    # A Figure without pyplot has the Agg canvas and no global state: no display, nothing to close.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def bare(*axes: "Axes") -> None:
    """Take the ticks from axes that show an image."""
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])


def save(figure: "Figure", path: Path | str) -> Path:
    """Write a figure as PNG, its folder made if it is missing; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
