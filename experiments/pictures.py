"""Pictures of a report, drawn by matplotlib without a display. matplotlib is imported on first use."""

import colorsys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..data import IGNORE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .report import Column, Summary

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

History = Sequence[Mapping[str, Any]]
"""One training: a mapping per epoch with ``epoch`` and any metrics."""


class PanelRow(NamedTuple):
    """A sample of a segmentation picture; arrays or CPU tensors."""

    rgb: Any
    """(3, H, W), values in [0, 1]."""
    depth: Any
    """(1, H, W), metres, 0 = no reading (shown gray)."""
    label: Any
    """(H, W) classes, 255 = ignore (shown gray)."""
    predictions: Mapping[str, Any]
    """Method → (H, W) classes; the same methods in every row."""


def palette(num_classes: int) -> npt.NDArray[np.uint8]:
    """RGB colors of the classes, (max(num_classes, 13), 3): a fixed 13, then hues a golden angle apart."""
    extra = []
    for i in range(num_classes - len(PALETTE)):
        color = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.55 + 0.3 * (i % 2), 0.9 - 0.15 * (i % 3))
        extra.append(tuple(round(255 * channel) for channel in color))
    return np.array([*PALETTE, *extra], dtype=np.uint8)


def colorise(label: Any) -> npt.NDArray[np.uint8]:
    """Colors of a map of classes (H, W) as an image (H, W, 3); 255 is gray."""
    label = np.asarray(label)
    known = label != IGNORE
    colors = palette(int(label[known].max(initial=0)) + 1)
    image = np.empty((*label.shape, 3), dtype=np.uint8)
    image[:] = IGNORE_COLOR
    image[known] = colors[label[known]]
    return image


def segmentation_panel(
    path: Path | str, rows: Sequence[PanelRow], *, class_names: Sequence[str] | None = None
) -> Path:
    """Draw a row per sample: RGB, depth, truth, and the prediction of each method under its name.

    All depths share one color scale. ``class_names`` adds a legend of the classes that occur.
    """
    if not rows:
        raise ValueError("a segmentation panel needs at least one row")
    methods = list(rows[0].predictions)
    for number, row in enumerate(rows):
        if list(row.predictions) != methods:
            raise ValueError(f"row {number} has predictions of {list(row.predictions)}, row 0 of {methods}")

    titles = ["RGB", "depth", "truth", *methods]
    height, width = np.asarray(rows[0].label).shape
    figure = _figure(1.7 * len(titles), 1.7 * len(rows) * height / width + 0.6)
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    depths = [np.asarray(row.depth).squeeze(0) for row in rows]
    farthest = max(float(depth.max()) for depth in depths) or 1.0
    for axes, row, depth in zip(grid, rows, depths, strict=True):
        axes[0].imshow(np.asarray(row.rgb).transpose(1, 2, 0).clip(0, 1))
        axes[1].imshow(np.ma.masked_equal(depth, 0), cmap="viridis_r", vmin=0, vmax=farthest)
        axes[1].set_facecolor([channel / 255 for channel in IGNORE_COLOR])
        for axis, classes in zip(axes[2:], [row.label, *row.predictions.values()], strict=True):
            axis.imshow(colorise(classes), interpolation="nearest")
    for axis, title in zip(grid[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for axis in grid.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    if class_names is not None:
        _class_legend(figure, rows, class_names)
    return _save(figure, path)


def learning_curves(
    path: Path | str, histories: Mapping[str, Sequence[History]], columns: "Sequence[Column]"
) -> Path:
    """Draw each metric over the epochs: a line per method, the mean of its seeds, min to max shaded.

    Entries without the metric are left out, and so are epochs that not every seed reached.
    """
    figure = _figure(5.0 * len(columns), 3.6)
    for axis, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        for method, seeds in histories.items():
            series = [
                {entry["epoch"]: float(entry[column.metric]) for entry in history if column.metric in entry}
                for history in seeds
            ]
            epochs = sorted(set.intersection(*map(set, series))) if series else []
            if not epochs:
                continue
            values = column.scale * np.array([[one[epoch] for epoch in epochs] for one in series])
            (line,) = axis.plot(epochs, values.mean(axis=0), label=method, marker=".")
            axis.fill_between(
                epochs, values.min(axis=0), values.max(axis=0), alpha=0.15, color=line.get_color()
            )
        axis.set_xlabel("epoch")
        axis.set_title(column.title)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    return _save(figure, path)


def bar_chart(
    path: Path | str, summary: "Summary", columns: "Sequence[Column]", *, baseline: str | None = None
) -> Path:
    """Draw a chart per column: a bar per method with its standard deviation, the mean written beside it.

    With ``baseline`` (a method) the bars start at its mean, so that their length is what a method
    gained or lost; without, at zero.
    """
    figure = _figure(5.0 * len(columns), 0.36 * len(summary) + 1.2)
    for axis, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        methods = [method for method in summary if column.metric in summary[method]]
        statistics = [summary[method][column.metric] for method in methods]
        means = np.array([column.scale * statistic["mean"] for statistic in statistics])
        deviations = np.array([column.scale * (statistic["std"] or 0.0) for statistic in statistics])
        start = means[methods.index(baseline)] if baseline in methods else 0.0
        bars = axis.barh(methods, means - start, left=start, xerr=deviations, capsize=3)
        labels = [f"{mean:.{column.digits}f}" for mean in means]
        axis.bar_label(bars, labels=labels, padding=4, fontsize=8)
        axis.axvline(start, color="black", linewidth=0.8)
        axis.margins(x=0.2)
        axis.invert_yaxis()
        axis.set_title(column.title)
        if baseline in methods:
            axis.set_xlabel(f"bars start at {baseline}")
    return _save(figure, path)


def error_curves(
    path: Path | str,
    summary: "Summary",
    teachers: Sequence[int],
    *,
    ensembles: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Draw error against the number of teachers, percent: a line per method with its standard deviation.

    Args:
        summary: with `error_N` for each number.
        teachers: the numbers.
        ensembles: number → the errors of the ensembles themselves, drawn as a dashed line.
    """
    figure = _figure(6.0, 4.2)
    axis = figure.subplots()
    for method, metrics in summary.items():
        known = [n for n in teachers if f"error_{n}" in metrics]
        found = [metrics[f"error_{n}"] for n in known]
        axis.errorbar(
            known, [100 * s["mean"] for s in found], yerr=[100 * (s["std"] or 0.0) for s in found],
            label=method, marker="o", capsize=3,
        )  # fmt: skip
    if ensembles:
        axis.plot(
            [int(n) for n in ensembles], [100 * float(np.mean(values)) for values in ensembles.values()],
            label="the teachers together", linestyle="--", marker=".", color="gray",
        )  # fmt: skip
    axis.set_xlabel("teachers")
    axis.set_ylabel("error, percent")
    axis.set_xticks(list(teachers))
    axis.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8)
    return _save(figure, path)


def layer_curves(path: Path | str, summary: "Summary", layers: "Sequence[Column]") -> Path:
    """Draw each method's accuracy by layer, percent, with its standard deviation."""
    figure = _figure(6.0, 4.2)
    axis = figure.subplots()
    for method, metrics in summary.items():
        found = [metrics[layer.metric] for layer in layers]
        axis.errorbar(
            range(1, len(layers) + 1), [100 * s["mean"] for s in found],
            yerr=[100 * (s["std"] or 0.0) for s in found], label=method, marker="o", capsize=3,
        )  # fmt: skip
    axis.set_xlabel("layer, from the stem")
    axis.set_ylabel("linear probe, percent")
    axis.set_xticks(range(1, len(layers) + 1))
    axis.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8)
    return _save(figure, path)


def retrieval_picture(
    path: Path | str,
    image: Callable[[int], Any],
    queries: Sequence[int],
    found: Mapping[str, Sequence[Sequence[int]]],
) -> Path:
    """Draw each query, framed, and the images that each method retrieves for it: a row a query and method.

    Args:
        image: row -> (3, H, W) in [0, 1].
        queries: rows.
        found: method -> for each query the rows it retrieved, the nearest first.
    """
    if not found:
        raise ValueError("a retrieval picture needs at least one method")
    count = max(len(rows) for rows in next(iter(found.values())))
    figure = _figure(0.8 * (count + 1) + 1.2, 0.8 * len(queries) * len(found) + 0.4)
    grid = figure.subplots(len(queries) * len(found), count + 1, squeeze=False)
    for q, query in enumerate(queries):
        for m, (method, rows) in enumerate(found.items()):
            axes = grid[q * len(found) + m]
            for axis, row in zip(axes, (query, *rows[q]), strict=True):
                axis.imshow(np.moveaxis(np.asarray(image(row)), 0, -1), interpolation="nearest")
                axis.set_xticks([])
                axis.set_yticks([])
            axes[0].set_ylabel(method, fontsize=7, rotation=0, ha="right", va="center")
            for side in axes[0].spines.values():
                side.set(color="red", linewidth=2)
    return _save(figure, path)


def matrix_picture(path: Path | str, matrices: Mapping[str, Any]) -> Path:
    """Draw matrices (C, C) side by side under their names, on one scale about zero; NaN is gray.

    Below each stands the mean of its absolute values, without NaN. Meant for what a student's correlation
    matrix of logits differs from its teacher's, for each method.
    """
    if not matrices:
        raise ValueError("a matrix picture needs at least one matrix")
    arrays = {name: np.ma.masked_invalid(np.asarray(matrix, float)) for name, matrix in matrices.items()}
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape[0] != array.shape[1]:
            raise ValueError(f"matrix {name!r} must be (C, C), got {array.shape}")
    largest = max(float(np.ma.filled(abs(array).max(), 0.0)) for array in arrays.values()) or 1.0
    figure = _figure(3.2 * len(arrays) + 0.8, 3.6)
    grid = figure.subplots(1, len(arrays), squeeze=False)[0]
    for axis, (name, array) in zip(grid, arrays.items(), strict=True):
        drawn = axis.imshow(array, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
        axis.set_facecolor([channel / 255 for channel in IGNORE_COLOR])
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("no value" if array.mask.all() else f"mean |·| {abs(array).mean():.3f}", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.colorbar(drawn, ax=list(grid), fraction=0.04)
    return _save(figure, path)


def embedding_picture(
    path: Path | str, points: Any, label: Any, *, class_names: Sequence[str] | None = None
) -> Path:
    """Draw points (N, 2) in the colors of their classes (N,).

    ``class_names`` adds a legend of the classes that occur, where there are 40 or fewer.
    """
    points, label = np.asarray(points), np.asarray(label)
    if points.ndim != 2 or points.shape[1] != 2 or label.shape != points.shape[:1]:
        raise ValueError(f"points must be (N, 2) and label (N,), got {points.shape} and {label.shape}")
    figure = _figure(5.5, 5.5)
    axis = figure.subplots()
    axis.scatter(points[:, 0], points[:, 1], s=6, c=palette(int(label.max(initial=0)) + 1)[label] / 255)
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xticks([])
    axis.set_yticks([])
    present = sorted(set(label.tolist()))
    if class_names is not None and len(present) <= 40:
        _named_colors(figure, present, class_names, columns=4)
    return _save(figure, path)


def _class_legend(figure: "Figure", rows: Sequence[PanelRow], class_names: Sequence[str]) -> None:
    maps = [classes for row in rows for classes in (row.label, *row.predictions.values())]
    present = sorted({int(c) for classes in maps for c in np.unique(np.asarray(classes))} - {IGNORE})
    _named_colors(figure, present, class_names, columns=8)


def _named_colors(
    figure: "Figure", present: Sequence[int], class_names: Sequence[str], *, columns: int
) -> None:
    from matplotlib.patches import Patch

    colors = palette(len(class_names)) / 255
    handles = [Patch(color=tuple(colors[c]), label=class_names[c]) for c in present]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), columns), fontsize=8)


def _figure(width: float, height: float) -> "Figure":
    # A Figure without pyplot has the Agg canvas and no global state: no display, nothing to close.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: "Figure", path: Path | str) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
