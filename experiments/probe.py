"""Evaluator frozen representations by a linear probe and by nearest neighbors, on any labeled images.

    accelerate launch experiments/probe.py --network resnet8 --weights runs/a runs/b --data.root packed.h5 \\
        --output runs/probe

Each of `--weights` is a row of the table: a file, a run folder with its `model.safetensors`, or `random` for
the untrained network. A row has its folder's name, or the one of `name=path`; several of one name are its
seeds, averaged. What a probe has to choose it chooses on a held-out part of `train`. The run folder gets
config.yaml, results.json and report.md.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crdkit.data import ImagesConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from crdkit.data import ImageSplits, Statistics
    from crdkit.evaluation import Features, ProbeResult
    from crdkit.experiments.report import Run

MODEL = "model.safetensors"


@dataclass(frozen=True)
class ProbeRun:
    """A comparison of frozen networks; every setting has its default here."""

    network: tuple[str, ...]
    """A name that `crdkit.models.create` takes, for all weights, or one for each."""
    weights: tuple[str, ...]
    """Files, run folders or `random`, each with `name=` before it where wanted."""
    output: Path
    """The run folder, which must not hold anything."""
    data: ImagesConfig = field(default_factory=lambda: ImagesConfig(source="packed"))
    """The images."""
    probe: Literal["logistic", "sgd"] = "logistic"
    """`logistic`: regression to convergence; `sgd`: 60 epochs, for sets that are too large for that."""
    layer: int | None = None
    """The map that is judged, 0 for the stem's, -1 for the last; the embedding where absent."""
    grid: int | None = None
    """Cells a side that the map is averaged to; flattened as it is where absent."""
    neighbors: int = 20
    """Neighbors that vote."""
    tsne: bool = False
    """Draw the test images' features in the plane."""
    statistics: Path | None = None
    """Mean and deviation that the networks were trained with, as `Statistics.save` writes them. Absent: those
    in the weights or in `training/` beside them, else measured on this data's training split."""
    seed: int = 0
    """Seed of the held-out part, of the order in `sgd`, and of `random` weights."""
    batch_size: int = 128
    """ImageSplits in one forward pass."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision of the networks' forward pass."""
    cpu: bool = False
    """Stay on the CPU even where there is a GPU."""

    def __post_init__(self) -> None:
        if not self.weights or len(self.network) not in (1, len(self.weights)):
            raise ValueError(
                f"{len(self.network)} networks for {len(self.weights)} weights: give one --network for all, "
                "or one for each of --weights"
            )
        if self.grid is not None and self.layer is None:
            raise ValueError("--grid belongs to a map: give its --layer too, or neither for the embedding")
        for name in ("neighbors", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class Row(NamedTuple):
    """One of the weights: its name in the table, its number among those of that name, where it is."""

    name: str
    number: int
    network: str
    weights: str


class Judged(NamedTuple):
    """A row with its figures, and its test features in the plane where wanted."""

    row: Row
    top1: float
    knn: float
    probe: ProbeResult
    statistics: str
    points: Features | None

    def as_run(self) -> Run:
        """The row of results.json."""
        details = self.probe._asdict() | {"network": self.row.network, "statistics": self.statistics}
        del details["top1"]
        metrics = {"top1": self.top1, "knn": self.knn, "probe": details}
        return {"method": self.row.name, "seed": self.row.number, "metrics": metrics}


def run(config: ProbeRun, rows: list[Row]) -> Path:
    """Every row judged, shared out over the processes, then the report; returns the run folder."""
    from crdkit.data import load_splits
    from crdkit.engine import make_accelerator

    accelerator = make_accelerator(precision=config.precision, cpu=config.cpu)
    images = load_splits(config.data, accelerator.device, augment=False)
    try:
        group = patient_group()
        if accelerator.is_main_process:
            config.output.mkdir(parents=True, exist_ok=True)
        share = rows[accelerator.process_index :: accelerator.num_processes]
        # All are loaded before the first is judged: a file that does not fit is told at once.
        loaded = [(row, *load_network(row, config, images.statistics)) for row in share]
        mine = []
        for row, network, source in loaded:
            mine.append(judge(row, network.to(accelerator.device), source, images, config))
            print(f"{row.name}: linear probe {100 * mine[-1].top1:.2f}, k-NN {100 * mine[-1].knn:.2f}")
        judged = sorted(from_all_processes(mine, group), key=lambda one: rows.index(one.row))
        if accelerator.is_main_process:
            report(config, judged, images.test.class_names)
    finally:
        accelerator.end_training()
    return config.output


def name_rows(config: ProbeRun) -> list[Row]:
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
            raise ValueError(f"two of --weights would be called {name!r}: write NAME={path}")
        kinds[name] = kind
        rows.append(Row(name, seen[name], network, str(path)))
        seen[name] += 1
    return rows


def load_network(row: Row, config: ProbeRun, measured: Statistics) -> tuple[nn.Module, str]:
    """The network behind its normalization, and in words where the normalization's figures come from."""
    import torch

    from crdkit.data import Normalize, Statistics
    from crdkit.models import Normalized, create, read_weights

    torch.manual_seed(config.seed + row.number)
    found, source = None, ""
    if row.weights == "random":
        encoder: nn.Module = create(row.network, num_classes=None)
    else:
        state = read_weights(row.weights)
        encoder = create(row.network, num_classes=None, weights=row.weights)
        found, source = saved_statistics(state), "in the weights"
        beside = Path(row.weights).parent / "training" / MODEL
        if found is None and beside.is_file():
            found, source = saved_statistics(read_weights(beside)), "in training/ beside the weights"
    if config.statistics is not None:
        found, source = Statistics.load(config.statistics), f"given, {config.statistics.name}"
    elif found is None:
        found, source = measured, "measured on this training split"
    network = Normalized(Normalize(found, "rgb"), encoder)
    return network.to(memory_format=torch.channels_last), source


def saved_statistics(state: dict[str, Tensor]) -> Statistics | None:
    """Those of a `Normalized` network's weights; None for others."""
    from crdkit.data import Statistics

    if not {"normalize.mean", "normalize.std"} <= state.keys():
        return None
    mean, std = (tuple(state[f"normalize.{name}"].flatten().tolist()) for name in ("mean", "std"))
    return Statistics(mean={"rgb": mean}, std={"rgb": std})


def judge(row: Row, network: nn.Module, source: str, images: ImageSplits, config: ProbeRun) -> Judged:
    """Both judgments of one network."""
    import torch

    from crdkit.evaluation import extract, knn_accuracy, probe_features, tsne

    device = next(network.parameters()).device
    autocast = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]
    known, unknown = (
        extract(
            network, split, modality="rgb", layer=config.layer, grid=config.grid,
            batch_size=config.batch_size, autocast=autocast,
        )
        for split in (images.train, images.test)
    )  # fmt: skip
    (probe,) = probe_features(known, unknown, fit=config.probe, device=device, seed=config.seed).folds
    nearest = knn_accuracy(known, unknown, neighbors=config.neighbors, device=device)
    points = tsne(unknown, seed=config.seed) if config.tsne else None
    return Judged(row, probe.top1, nearest, probe, source, points)


def patient_group() -> Any:
    """The processes as a group that waits as long as a row takes, be it hours; None for one process."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return None
    return dist.new_group(backend="gloo", timeout=timedelta(days=7))


def from_all_processes(mine: list[Judged], group: Any) -> list[Judged]:
    """What every process judged, on every process."""
    import torch.distributed as dist

    if group is None:
        return mine
    shares: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shares, mine, group=group)
    return [one for share in shares for one in share]


def report(config: ProbeRun, judged: list[Judged], class_names: tuple[str, ...]) -> None:
    """config.yaml, results.json, report.md with its pictures, and the table on the terminal."""
    from rich.console import Console

    from crdkit.experiments.command import write_config
    from crdkit.experiments.pictures import embedding_picture
    from crdkit.experiments.provenance import environment
    from crdkit.experiments.report import Column, summarize, terminal_table, write_report, write_results

    runs = [one.as_run() for one in judged]
    columns = (Column("top1", "linear probe"), Column("knn", f"{config.neighbors}-NN"))
    data, folder = config.data, config.output
    preset = data.source if data.root is None else data.root.stem
    named = replace(config, weights=tuple(one.row.name for one in judged))  # without places on this machine
    write_results(
        folder, task="probe", preset=preset, runs=runs, environment=environment(), config=asdict(named)
    )
    write_config(config, folder)
    drawn = {}
    for one in judged:
        if one.points is not None:
            name = "tsne-" + re.sub(r"[^\w.-]+", "-", f"{one.row.name}-{one.row.number}") + ".png"
            embedding_picture(folder / "pictures" / name, *one.points, class_names=class_names or None)
            drawn[f"t-SNE of {one.row.name}, {one.row.number}"] = name
    title = f"Frozen features on {preset}"
    write_report(folder, columns, title=title, notes=method(config, judged), drawn=drawn)
    Console().print(terminal_table(summarize(runs), columns))
    print(f"report: {folder / 'report.md'}")


def method(config: ProbeRun, judged: list[Judged]) -> str:
    """How the figures came about, as Markdown: a paragraph, and a line for each of the weights."""
    first = judged[0].probe
    layer = "the embedding" if config.layer is None else f"map {config.layer}"
    if config.grid is not None:
        layer += f" averaged to {config.grid}×{config.grid}"
    setting = {"logistic": "C of a logistic regression", "sgd": "the learning rate of SGD"}[config.probe]
    lines = [
        f"Top-1 on {first.n_test:,} test images, percent. Features: {layer}, networks frozen. The linear "
        f"probe is fitted on {first.n_train:,} training images; {setting} is the best on a fifth of them, "
        f"held out. k-NN: cosine similarity, {config.neighbors} neighbors, temperature 0.07.\n",
        "| method | number | network | dimensions | chosen | held-out accuracy | normalized with figures |",
        "|---|---:|---|---:|---:|---:|---|",
    ]
    for one in judged:
        probe = one.probe
        cells = (
            one.row.name, one.row.number, one.row.network, probe.dimension, f"{probe.chosen:g}",
            f"{100 * max(probe.validation):.1f}", one.statistics,
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Entry point of the command line."""
    import tyro

    try:
        config = tyro.cli(ProbeRun, description=__doc__)
        rows = name_rows(config)
    except (OSError, ValueError) as error:
        raise SystemExit(f"probe.py: {error}") from None
    from crdkit.data import DataError
    from crdkit.engine import CrdkitError

    try:
        run(config, rows)
    except (CrdkitError, DataError, OSError, ValueError) as error:
        raise SystemExit(f"probe.py: {error}") from None


if __name__ == "__main__":
    main()
