"""What a network of a run says of new images: classes, maps of classes, overlays, embeddings.

    crdkit predict runs/mine/deploy/crd-local depth/ --output out
    crdkit predict runs/mine/deploy/kd a.png b.png --embeddings out.npy --output out
    crdkit predict runs/mine/deploy/crd-local scan.png --encoding depth.unit=mm --output out
    crdkit predict runs/mine/deploy/crd drive.mp4 --output out

The network is a folder of RUN/deploy, or RUN if one network is deployed in it. Inputs are images, `.npy` (one
array or many), folders of them, videos, and `camera:0`. The output folder gets predictions.csv; of a network
that segments `labels/NAME.png` (a class a pixel, at the input's size); `overlays/NAME.png`, or a video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from crdkit.common import UserError

if TYPE_CHECKING:
    from crdkit.data import Input


@dataclass(frozen=True)
class PredictRun:
    """Predictions of a deployed network."""

    network: tyro.conf.Positional[Path]
    """A folder of RUN/deploy, a run folder with one network, or a weights' file of a run."""
    inputs: tyro.conf.Positional[tuple[str, ...]]
    """Images, `.npy` files, folders of them, videos, `camera:0`."""
    output: Path
    """The folder of the results; must not hold any."""
    embeddings: Path | None = None
    """A `.npy` file for the embeddings, (N, D) in the order of predictions.csv."""
    encoding: tuple[str, ...] = ()
    """What the numbers in the files mean, if not what they meant in the run: `depth.unit=mm`."""
    size: tuple[int, int] | None = None
    """Height and width that the network sees; those of the run if absent."""
    overlays: bool = True
    """Draw what is predicted over the inputs."""
    top: int = 3
    """Classes that predictions.csv lists for an image."""
    frames: int | None = None
    """Only the first so many samples: a camera has no end."""
    batch_size: int = 16
    """Samples in one forward pass."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: a GPU if there is one."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "top"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.frames is not None and self.frames < 1:
            raise UserError(f"frames must be at least 1, got {self.frames}")
        if self.embeddings is not None and self.embeddings.suffix != ".npy":
            raise UserError(f"embeddings are written as .npy, got {self.embeddings}")


def run(config: PredictRun) -> Path:
    """Predict for all inputs; returns the output folder."""
    import torch

    from crdkit.common import atomically
    from crdkit.data import DataError
    from crdkit.deploy import load, predict
    from crdkit.experiments.predictions import Writer

    model, preprocess = load(config.network)
    preprocess = preprocess.with_settings(config.encoding, config.size)
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    embeddings = []
    inputs = preprocess.read(config.inputs)
    interrupted = False
    with Writer(config.output, preprocess.description, top=config.top, overlays=config.overlays) as writer:
        try:
            for samples in _in_batches(inputs, config.batch_size, config.frames):
                images = torch.stack([preprocess(sample.array, where=sample.where) for sample in samples])
                found = predict(model, images)
                embeddings.append(found.embedding)
                for row, sample in enumerate(samples):
                    writer.add(sample, images[row], found, row)
        except KeyboardInterrupt:  # the way to end a camera: what was predicted is written
            interrupted = True
        count = writer.count
    if not count:
        raise DataError(f"{' '.join(config.inputs)}: no image, array or video is there")
    if config.embeddings is not None:
        import numpy as np

        with atomically(config.embeddings) as made, made.open("wb") as file:
            np.save(file, torch.cat(embeddings)[:count].numpy())
        print(f"embeddings: {config.embeddings}")
    print(f"{count} predictions: {config.output / 'predictions.csv'}")
    if interrupted:
        raise SystemExit(130)
    return config.output


def _in_batches(samples: Iterator[Input], size: int, limit: int | None) -> Iterator[list[Input]]:
    from itertools import islice

    samples = islice(samples, limit)
    while batch := list(islice(samples, size)):
        yield batch


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    import tyro

    from crdkit.experiments.checks import check_network_and_files
    from crdkit.experiments.errors import errors_as_messages, usage
    from crdkit.experiments.invocation import use_cores

    with usage("predict"):
        config = tyro.cli(
            PredictRun,
            description=__doc__,
            prog="crdkit predict",
            args=None if arguments is None else list(arguments),
        )
        check_network_and_files(config.network, config.inputs, config.encoding)
        if config.output.exists() and (not config.output.is_dir() or any(config.output.iterdir())):
            raise FileExistsError(f"--output {config.output} holds something already: name another folder")
    with errors_as_messages("predict"):
        use_cores()
        run(config)


if __name__ == "__main__":
    from crdkit.experiments.invocation import run_script

    run_script(main)
