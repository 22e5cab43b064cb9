"""Pictures of samples and features, drawn by matplotlib without a display."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..common import UserError
from ..data import IGNORE
from .canvas import IGNORE_COLOR, bare, colorize, named_colors, new_figure, save
from .modalities import pictured


class PanelRow(NamedTuple):
    """A sample of a segmentation picture; arrays or CPU tensors."""

    inputs: Mapping[str, Any]
    """Modality → (h, w, 3) uint8, of any size; the same modalities in every row."""
    label: Any
    """(H, W) classes, 255 = ignore (shown gray)."""
    predictions: Mapping[str, Any]
    """Method → (H, W) classes; the same methods in every row."""


def segmentation_panel(
    path: Path | str, rows: Sequence[PanelRow], *, class_names: Sequence[str] | None = None
) -> Path:
    """Draw a row per sample: its modalities, truth, and the prediction of each method under its name.

    ``class_names`` adds a legend of the classes that occur.
    """
    if not rows:
        raise UserError("a segmentation panel needs at least one row")
    methods = list(rows[0].predictions)
    for number, row in enumerate(rows):
        if list(row.predictions) != methods:
            raise UserError(f"row {number} has predictions of {list(row.predictions)}, row 0 of {methods}")

    titles = [*rows[0].inputs, "truth", *methods]
    height, width = np.asarray(rows[0].label).shape
    figure = new_figure(1.7 * len(titles), 1.7 * len(rows) * height / width + 0.6)
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        for axis, image in zip(axes, row.inputs.values(), strict=False):
            axis.imshow(image, extent=(0, width, height, 0))
        for axis, classes in zip(
            axes[len(row.inputs) :], [row.label, *row.predictions.values()], strict=True
        ):
            axis.imshow(colorize(classes), interpolation="nearest")
    for axis, title in zip(grid[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    bare(*grid.flat)
    if class_names is not None:
        named_colors(figure, present_classes(rows), class_names, columns=min(8, round(1.3 * len(titles))))
    return save(figure, path)


def present_classes(rows: Sequence[PanelRow]) -> list[int]:
    """The classes that occur in some rows, true or predicted."""
    maps = [classes for row in rows for classes in (row.label, *row.predictions.values())]
    return sorted({int(c) for classes in maps for c in np.unique(np.asarray(classes))} - {IGNORE})


def overlay_picture(path: Path | str, modalities: Mapping[str, Any]) -> Path:
    """Draw a row per sample: each modality, and the last over the first, whatever their sizes.

    Args:
        modalities: two names to (B, C, H, W), shown as by `pictured`.
    """
    pictures = {name: pictured(name, batch).images for name, batch in modalities.items()}
    count = min(map(len, pictures.values()))
    figure = new_figure(1.9 * (len(pictures) + 1), 1.5 * count + 0.4)
    grid = figure.subplots(count, len(pictures) + 1, squeeze=False)
    for row, axes in enumerate(grid):
        samples = [rows[row] for rows in pictures.values()]
        height, width = samples[0].shape[:2]
        frame = (0, width, height, 0)
        for axis, sample in zip(axes, samples, strict=False):
            axis.imshow(sample, extent=frame)
        axes[-1].imshow(samples[0], extent=frame)
        axes[-1].imshow(samples[-1], extent=frame, alpha=0.5)
    for axis, title in zip(grid[0], [*pictures, "both"], strict=True):
        axis.set_title(title, fontsize=9)
    bare(*grid.flat)
    return save(figure, path)


def image_sheet(path: Path | str, images: Any, titles: Sequence[str], *, columns: int = 6) -> Path:
    """Draw images (N, h, w, 3) uint8, each under its title, in rows of so many."""
    rows = -(-len(images) // columns)
    figure = new_figure(1.3 * columns, 1.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    bare(*axes)
    for axis, image, title in zip(axes, images, titles, strict=False):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(title, fontsize=8)
    return save(figure, path)


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
        raise UserError("a retrieval picture needs at least one method")
    count = max(len(rows) for rows in next(iter(found.values())))
    figure = new_figure(0.8 * (count + 1) + 1.2, 0.8 * len(queries) * len(found) + 0.4)
    grid = figure.subplots(len(queries) * len(found), count + 1, squeeze=False)
    for q, query in enumerate(queries):
        for m, (method, rows) in enumerate(found.items()):
            axes = grid[q * len(found) + m]
            for axis, row in zip(axes, (query, *rows[q]), strict=True):
                axis.imshow(np.moveaxis(np.asarray(image(row)), 0, -1), interpolation="nearest")
            bare(*axes)
            axes[0].set_ylabel(method, fontsize=7, rotation=0, ha="right", va="center")
            for side in axes[0].spines.values():
                side.set(color="red", linewidth=2)
    return save(figure, path)


def matrix_picture(path: Path | str, matrices: Mapping[str, Any]) -> Path:
    """Draw matrices (C, C) side by side under their names, on one scale about zero; NaN is gray.

    Below each stands the mean of its absolute values, without NaN. Meant for what a student's correlation
    matrix of logits differs from its teacher's, for each method.
    """
    if not matrices:
        raise UserError("a matrix picture needs at least one matrix")
    arrays = {name: np.ma.masked_invalid(np.asarray(matrix, float)) for name, matrix in matrices.items()}
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape[0] != array.shape[1]:
            raise UserError(f"matrix {name!r} must be (C, C), got {array.shape}")
    largest = max(float(np.ma.filled(abs(array).max(), 0.0)) for array in arrays.values()) or 1.0
    figure = new_figure(3.2 * len(arrays) + 0.8, 3.6)
    grid = figure.subplots(1, len(arrays), squeeze=False)[0]
    for axis, (name, array) in zip(grid, arrays.items(), strict=True):
        drawn = axis.imshow(array, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
        axis.set_facecolor([channel / 255 for channel in IGNORE_COLOR])
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("no value" if array.mask.all() else f"mean |·| {abs(array).mean():.3f}", fontsize=9)
    bare(*grid)
    figure.colorbar(drawn, ax=list(grid), fraction=0.04)
    return save(figure, path)
