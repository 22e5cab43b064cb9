"""Judge frozen representations by a linear probe and by nearest neighbors, on any labeled images.

    crdkit probe --network resnet8 --weights runs/a runs/b --data.root packed.h5 \\
        --output runs/probe

Each of `--weights` is a row of the table: a file, a run folder with its `model.safetensors`, or `random` for
the untrained network. A row has its folder's name, or the one of `name=path`; several of one name are its
seeds, averaged. What a probe has to choose it chooses on a held-out part of `train`. The run folder gets
config.yaml, results.json, report.html and report.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crdkit.common import UserError
from crdkit.data import ImagesConfig
from crdkit.reports import ProbeRow

if TYPE_CHECKING:
    from torch import nn

    from crdkit.data import ImageSplits, Statistics
    from crdkit.engine import Accelerator
    from crdkit.reports import Judged

MODEL = "model.safetensors"


@dataclass(frozen=True)
class ProbeRun:
    """A comparison of frozen networks; every setting has its default here."""

    network: tuple[str, ...]
    """A name that `crdkit.models.create` takes, for all weights, or one for each."""
    weights: tuple[str, ...]
    """Files, run folders or `random`, each with `name=` before it if wanted."""
    output: Path
    """The run folder, which must not hold anything."""
    data: ImagesConfig = field(default_factory=lambda: ImagesConfig(source="packed"))
    """The images."""
    probe: Literal["logistic", "sgd"] = "logistic"
    """`logistic`: regression to convergence; `sgd`: 60 epochs, for sets that are too large for that."""
    layer: int | None = None
    """The map that is judged, 0 for the stem's, -1 for the last; the embedding if absent."""
    grid: int | None = None
    """Cells a side that the map is averaged to; flattened as it is if absent."""
    neighbors: int = 20
    """Neighbors that vote."""
    tsne: bool = False
    """Draw the test images' features in the plane."""
    statistics: Path | None = None
    """Mean and deviation that the networks were trained with, as `Statistics.save` writes them. Absent: those
    in the weights or in `training/` beside them, else those that torchvision or timm says of published
    weights, else measured on this data's training split."""
    seed: int = 0
    """Seed of the held-out part, of the order in `sgd`, and of `random` weights."""
    batch_size: int = 128
    """Images in one forward pass."""
    precision: Literal["no", "bf16", "fp16"] | None = None
    """Mixed precision of the networks' forward pass; the launcher's choice if absent."""
    cpu: bool = False
    """Stay on the CPU even if there is a GPU."""

    def __post_init__(self) -> None:
        if not self.weights or len(self.network) not in (1, len(self.weights)):
            raise UserError(
                f"{len(self.network)} networks for {len(self.weights)} weights: give one --network for all, "
                "or one for each of --weights"
            )
        if self.grid is not None and self.layer is None:
            raise UserError("--grid belongs to a map: give its --layer too, or neither for the embedding")
        for name in ("neighbors", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")


def run(config: ProbeRun, rows: list[ProbeRow]) -> Path:
    """Every row judged, by all processes together, then the report; returns the run folder."""
    from crdkit.data import load_splits
    from crdkit.engine import end_training, make_accelerator

    accelerator = make_accelerator(precision=config.precision, cpu=config.cpu)
    images = load_splits(config.data, accelerator.device, augment=False)
    measured = cache(lambda: images.statistics or images.measure_statistics())
    try:
        # All are loaded before the first is judged: a file that does not fit is told at once.
        loaded = [(row, *load_network(row, config, measured)) for row in rows]
        judged = []
        for row, network, source in loaded:
            found = judge(row, network.to(accelerator.device), source, images, config, accelerator)
            judged.append(found)
            accelerator.print(f"{row.name}: linear probe {100 * found.top1:.2f}, k-NN {100 * found.knn:.2f}")
        if accelerator.is_main_process:
            report(config, judged, images.test.class_names)
    finally:
        end_training(accelerator)
    return config.output


def report(config: ProbeRun, judged: Sequence[Judged], class_names: Sequence[str]) -> None:
    """Write config.yaml, results.json, report.md with its pictures, and print the table."""
    from rich.console import Console

    from crdkit.experiments.invocation import command_line
    from crdkit.experiments.provenance import environment
    from crdkit.experiments.session import write_config
    from crdkit.reports import (
        command_in_words,
        probe_page,
        summarize,
        terminal_table,
        write_report,
        write_results,
    )

    runs, data, folder = [one.as_run() for one in judged], config.data, config.output
    named = replace(config, weights=tuple(one.row.name for one in judged))  # without places on this machine
    write_results(
        folder,
        task="probe",
        preset=data.source if data.root is None else data.root.stem,
        runs=runs,
        environment=environment(),
        config=asdict(named),
    )
    write_config(config, folder)
    page = probe_page(judged, class_names, config)
    path = write_report(folder, replace(page, command=command_in_words(command_line())))
    Console().print(terminal_table(summarize(runs), page.columns))
    print(f"report: {path}")


def name_rows(config: ProbeRun) -> list[ProbeRow]:
    """The table's rows.

    Raises:
        FileExistsError: the run folder holds something.
        FileNotFoundError: weights are not there.
        ValueError: a folder's name is that of another row.
    """
    if config.output.exists() and (not config.output.is_dir() or any(config.output.iterdir())):
        raise FileExistsError(f"{config.output} exists; name another --output")
    networks = config.network * (len(config.weights) if len(config.network) == 1 else 1)
    seen: Counter[str] = Counter()
    kinds: dict[str, str] = {}
    rows = []
    for network, text in zip(networks, config.weights, strict=True):
        name, equals, place = text.partition("=")
        named = bool(equals) and not Path(text).exists()
        path = Path(place if named else text)
        is_random = str(path) == "random"
        if path.is_dir():
            path /= MODEL
        if not (is_random or path.is_file()):
            raise FileNotFoundError(f"no weights at {path}, given as --weights {text}")
        if not named:
            name = "random" if is_random else path.resolve().parent.name or path.stem
        kind = "named" if named else "random" if is_random else "folder"
        if name in seen and (kind == "folder" or kinds[name] != kind):
            raise UserError(f"two of --weights would be called {name!r}: write NAME={path}")
        kinds[name] = kind
        rows.append(ProbeRow(name, seen[name], network, str(path)))
        seen[name] += 1
    return rows


def load_network(
    row: ProbeRow, config: ProbeRun, measured: Callable[[], Statistics]
) -> tuple[nn.Module, str]:
    """The network behind its normalization, and in words where the normalization's figures come from."""
    import torch

    from crdkit.data import Statistics
    from crdkit.models import create, find_preprocessing, open_weights, saved_preprocessing
    from crdkit.transfer import with_normalization

    torch.manual_seed(config.seed + row.number)
    weights = None if row.weights == "random" else open_weights(row.network, row.weights)
    encoder = create(row.network, num_classes=None, weights=weights, bare=True)
    if config.statistics is not None:
        found, source = Statistics.load(config.statistics), f"given, {config.statistics.name}"
        return with_normalization(encoder, found, "rgb"), source
    own, source = None, ""
    if weights is not None:
        beside = Path(row.weights).parent / "training" / MODEL
        own, source = saved_preprocessing(weights), "in the weights"
        if own is None and beside.is_file():
            own, source = saved_preprocessing(beside), "in training/ beside the weights"
        if own is None:
            own = find_preprocessing(row.network, weights)
            source = "" if own is None else own.source
    if own is not None:
        found = Statistics(mean={"rgb": own.mean}, std={"rgb": own.std})
    else:
        found, source = measured(), "measured on this training split"
        if config.data.mean is not None:
            source = "given, --data.mean and --data.std"
    return with_normalization(encoder, found, "rgb"), source


def judge(
    row: ProbeRow,
    network: nn.Module,
    source: str,
    images: ImageSplits,
    config: ProbeRun,
    accelerator: Accelerator,
) -> Judged:
    """Both judgments of one network."""
    from crdkit.evaluation import extract, knn_accuracy, probe_features, tsne
    from crdkit.reports import Judged

    device = accelerator.device
    with accelerator.autocast():
        known, unknown = (
            extract(
                network,
                split,
                modality="rgb",
                layer=config.layer,
                grid=config.grid,
                device=device,
                batch_size=config.batch_size,
            )
            for split in (images.train, images.test)
        )
    (probe,) = probe_features(known, unknown, fit=config.probe, device=device, seed=config.seed).folds
    nearest = knn_accuracy(known, unknown, neighbors=config.neighbors)
    points = tsne(unknown, seed=config.seed) if config.tsne and accelerator.is_main_process else None
    return Judged(row, probe.top1, nearest, probe, source, points)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    import tyro

    from crdkit.experiments.checks import check_config
    from crdkit.experiments.errors import errors_as_messages, usage
    from crdkit.experiments.invocation import is_main_rank, use_cores

    with usage("probe"):
        config = tyro.cli(
            ProbeRun,
            description=__doc__,
            prog="crdkit probe",
            console_outputs=is_main_rank(),
            args=None if arguments is None else list(arguments),
        )
        check_config(config)
        rows = name_rows(config)
    with errors_as_messages("probe"):
        use_cores()
        run(config, rows)


if __name__ == "__main__":
    from crdkit.experiments.invocation import run_script

    run_script(main)
