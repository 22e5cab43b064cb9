"""Predictions as files: a table, maps of classes, overlays."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..reports import colorize, named_colors, new_figure, save

if TYPE_CHECKING:
    from crdkit.data import Array, Input, VideoFile
    from crdkit.deploy import Prediction
    from crdkit.models import Description

LUMA = np.array([0.299, 0.587, 0.114])
SMALLEST = 256
"""Pixels that the shorter side of an overlay has at least."""


class Writer:
    """Writes what is predicted for one sample after the other; a context manager.

    Args:
        folder: of the results.
        description: of the network.
        top: classes that the table lists for an image.
        overlays: whether pictures are drawn.
    """

    def __init__(self, folder: Path, description: Description, *, top: int, overlays: bool) -> None:
        self.folder, self.description, self.overlays, self.count = folder, description, overlays, 0
        self.top = min(top, len(description.class_names))
        self._videos: dict[str, VideoFile] = {}
        self._present: set[int] = set()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for video in self._videos.values():
            video.close()
        if self.count:
            self._file.close()
        if self._present and self.overlays:
            columns = 6
            figure = new_figure(8, 0.2 + 0.25 * -(-len(self._present) // columns))
            named_colors(figure, sorted(self._present), self.description.class_names, columns=columns)
            save(figure, self.folder / "legend.png")

    def add(self, sample: Input, image: Any, found: Prediction, row: int) -> None:
        """Write the results of one sample.

        Args:
            image: as the network saw it, (C, H, W).
            found: of its batch.
            row: in the batch.
        """
        if not self.count:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / "predictions.csv").open("w", newline="", encoding="utf-8")
            self._table = csv.writer(self._file)
            self._table.writerow(["input", *self._headings()])
        self.count += 1
        names = self.description.class_names
        if self.description.task == "representation":
            self._table.writerow([sample.name])
        elif self.description.task == "segmentation":
            height, width = sample.array.shape[:2]
            classes = np.asarray(found.class_map(row, self._map_size(height, width)))
            shares = np.bincount(classes.ravel(), minlength=len(names)) / classes.size
            self._table.writerow([sample.name, *(f"{share:.4f}" for share in shares)])
            self._write_labels(sample.name, classes)
            if self.overlays:
                # Colors are for the classes: the input is gray below them.
                gray = self._picture(sample, image, classes.shape) @ LUMA
                colors = colorize(classes)
                self._draw(sample, (0.5 * gray[..., None] + 0.5 * colors).astype(np.uint8))
        else:
            probabilities, order = found.probabilities[row].sort(descending=True)
            best = [(names[int(order[i])], f"{float(probabilities[i]):.4f}") for i in range(self.top)]
            self._table.writerow([sample.name, *(cell for pair in best for cell in pair)])
            if self.overlays:
                self._draw(sample, _with_text(self._picture(sample, image, None), " ".join(best[0])))

    def _headings(self) -> list[str]:
        if self.description.task == "segmentation":
            return [f"share of {name}" for name in self.description.class_names]
        return [f"{kind}_{i}" for i in range(1, self.top + 1) for kind in ("class", "probability")]

    def _map_size(self, height: int, width: int) -> tuple[int, int] | None:
        """The input's size; of an input that was cropped what the network saw."""
        return None if self.description.resize == "center-crop" else (height, width)

    def _write_labels(self, name: str, classes: Array) -> None:
        from PIL import Image

        path = self.folder / "labels" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._present |= set(np.unique(classes).tolist())
        # Plain numbers, as data sets have them, and no palette, which some readers replace by its colors.
        kind = np.uint8 if len(self.description.class_names) <= 256 else np.uint16
        Image.fromarray(classes.astype(kind)).save(path)

    def _picture(self, sample: Input, image: Any, size: tuple[int, ...] | None) -> Array:
        """The input as a picture (H, W, 3) uint8, at a size if it is given."""
        from ..reports import pictured

        if sample.array.ndim == 3 and sample.array.shape[2] == 3 and sample.array.dtype == np.uint8:
            picture = sample.array
        else:
            picture = pictured(self.description.modality, image[None]).images[0]
        height, width = size or picture.shape[:2]
        return _resized(picture, (height, width))

    def _draw(self, sample: Input, picture: Array) -> None:
        from PIL import Image

        if (shorter := min(picture.shape[:2])) < SMALLEST:
            factor = -(-SMALLEST // shorter)
            picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        if sample.rate is None:
            path = self.folder / "overlays" / f"{sample.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
            return
        from crdkit.data import VideoFile

        name = sample.name.rpartition("/")[0]
        if name not in self._videos:
            self._videos[name] = VideoFile(self.folder / "overlays" / f"{name}.mp4", sample.rate)
        self._videos[name].write(picture)


def _resized(picture: Array, size: tuple[int, int]) -> Array:
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))


def _with_text(picture: Array, text: str) -> Array:
    """The picture, enlarged if it is small, with a line of text below it."""
    from PIL import Image, ImageDraw

    factor = max(1, -(-SMALLEST // min(picture.shape[:2])))
    large = Image.fromarray(picture.repeat(factor, axis=0).repeat(factor, axis=1))
    page = Image.new("RGB", (large.width, large.height + 20))
    page.paste(large, (0, 0))
    ImageDraw.Draw(page).text((4, large.height + 4), text, fill="white")
    return np.asarray(page)
