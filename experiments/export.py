"""A network of a run as a file that other programs run: weights, PyTorch's exported program, ONNX.

    crdkit export runs/mine/deploy/crd-local --format onnx
    crdkit export runs/mine/deploy/kd --format pt2 onnx --precision fp16 --output out
    crdkit export runs/mine/deploy/kd --format onnx --int8 --samples images/test

Every file is compared with the network before it is kept, on `--samples`, else on the test samples that the
run left in `deploy/`; a `.pt2` is read by a process that never imports crdkit, ONNX by onnxruntime. ONNX
needs the extra: `pip install 'crdkit[export]'`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from crdkit.common import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from crdkit.deploy import Preprocess


DRAWN = 8


@dataclass(frozen=True)
class ExportRun:
    """Export of a deployed network."""

    network: tyro.conf.Positional[Path]
    """A folder of RUN/deploy, a run folder with one network, or a weights' file of a run."""
    format: tuple[Literal["safetensors", "pt2", "onnx"], ...] = ("pt2", "onnx")
    """`safetensors`: the weights with what they are · `pt2`: for torch alone · `onnx`: for ONNX Runtime and
    others."""
    output: Path | None = None
    """The folder of the files; that of the network if absent, `export/` in it for weights."""
    dynamic_batch: bool = True
    """Take any number of images at a time; off: one."""
    size: tuple[int, int] | None = None
    """Height and width of the images; those of the run if absent."""
    preprocessing: bool = True
    """Put the normalization inside the graph: it takes the modality in its units. Off: normalized images."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """Of the weights and of what is computed; inputs and outputs are fp32."""
    int8: bool = False
    """Also write the ONNX file with weights in 8 bits, and tell how often it agrees."""
    samples: tuple[str, ...] = ()
    """Images, arrays, folders to compare on; if absent the run's own test samples, or without these numbers
    drawn by the training's mean and deviation. Those in folders named like classes also tell the accuracy."""
    encoding: tuple[str, ...] = ()
    """What the numbers in the samples mean, if not what they meant in the run: `depth.unit=mm`."""
    count: int = 32
    """Samples that are read, at most."""
    tolerance: float | None = None
    """The largest relative difference; 1e-4 for fp32 and 2e-2 for fp16 if absent."""
    repeats: int = 20
    """Calls whose median is the latency; 0 measures none."""

    def __post_init__(self) -> None:
        if not self.format:
            raise UserError("name at least one format")
        if self.int8 and ("onnx" not in self.format or self.precision != "fp32"):
            raise UserError("--int8 is made of an ONNX file in fp32: --format onnx --precision fp32")
        if self.count < 1 or self.repeats < 0:
            raise UserError(f"count and repeats must be positive, got {self.count} and {self.repeats}")


def run(config: ExportRun) -> list[Path]:
    """Write, compare and time the files; returns their paths."""
    import torch

    from crdkit.deploy import NamedOutputs, bare, export_network, find_network, latency, load, quantize_onnx

    model, preprocess = load(config.network)
    preprocess = preprocess.with_settings(config.encoding, config.size)
    described = preprocess.description
    samples, labels = read_samples(config, preprocess)
    folder = config.output or find_network(config.network)[0].parent / "export"
    stem = "model" + ("-fp16" if config.precision == "fp16" else "")
    graph = NamedOutputs(model if config.preprocessing else bare(model)).eval()
    seen = samples if graph.network is model else model.normalize(samples)  # type: ignore[operator]
    runners: dict[str, Any] = {"eager": graph}
    written = []
    for form in dict.fromkeys(config.format):
        path = folder / f"{stem}.{form}"
        runners[form], differences = export_network(
            model,
            described,
            path,
            samples,
            format=form,
            dynamic_batch=config.dynamic_batch,
            precision=config.precision,
            preprocessing=config.preprocessing,
            tolerance=config.tolerance,
        )
        written.append(path)
        for difference in differences:
            print(f"{path.name}: {difference.in_words(described.class_names)}")
        if form == "onnx" and config.int8:
            small = folder / "model-int8.onnx"
            runners["onnx, int8"] = quantize_onnx(path, small)
            written.append(small)
    runners.pop("safetensors", None)
    with torch.no_grad():
        outputs = {name: outputs_of(run, seen, config.dynamic_batch) for name, run in runners.items()}
    taken = latency(runners, seen[:1], repeats=config.repeats) if config.repeats else {}
    show(outputs, taken, labels)
    for path in written:
        print(f"{path} ({path.stat().st_size / 2**20:.2f} MiB)")
    return written


def outputs_of(run: Any, images: Tensor, dynamic_batch: bool) -> dict[str, Tensor]:
    """The outputs of a runner for all images."""
    from crdkit.deploy import run_on

    return run_on(run, images, dynamic_batch=dynamic_batch)


def read_samples(config: ExportRun, preprocess: Preprocess) -> tuple[Tensor, list[int] | None]:
    """Samples (N, C, H, W) in the modality's units; their classes, if all lie in folders named like one."""
    import torch
    from safetensors.torch import load_file

    from crdkit.deploy import SAMPLES, find_network

    described = preprocess.description
    if not config.samples:
        kept = find_network(config.network)[0].parent.parent / SAMPLES
        if kept.is_file() and config.size is None:
            return load_file(kept)["images"], None
        print(f"compared on {DRAWN} drawn images; --samples compares on real ones")
        shape = (DRAWN, described.channels, *preprocess.size)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        if described.mean is not None and described.std is not None:
            mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (described.mean, described.std))
            drawn = mean + std * drawn
        return drawn, None
    images, labels = [], []
    for number, sample in enumerate(preprocess.read(config.samples)):
        if number == config.count:
            break
        images.append(preprocess(sample.array, where=sample.where))
        parent = Path(sample.where.partition(",")[0]).parent.name
        if parent in described.class_names:
            labels.append(described.class_names.index(parent))
    return torch.stack(images), labels if len(labels) == len(images) else None


def show(outputs: dict[str, dict[str, Tensor]], taken: dict[str, float], labels: list[int] | None) -> None:
    """Print agreement with the network, accuracy and latency of every file, side by side."""
    import torch
    from rich.console import Console
    from rich.table import Table

    table = Table()
    wanted = outputs["eager"]
    names = ["file", "same class" if "logits" in wanted else "cosine to eager"]
    names += ["accuracy"] if labels else []
    names += ["ms per image"] if taken else []
    for name in names:
        table.add_column(name, justify="left" if name == "file" else "right")
    for name, found in outputs.items():
        cells = [name]
        if "logits" in wanted:
            same = (found["logits"].argmax(1) == wanted["logits"].argmax(1)).double().mean()
            cells.append(f"{100 * same:.2f} %")
        else:
            cosine = torch.cosine_similarity(found["embedding"], wanted["embedding"]).mean()
            cells.append(f"{cosine:.5f}")
        if labels:
            right = found["logits"].argmax(1) == torch.tensor(labels)
            cells.append(f"{100 * right.double().mean():.1f} %")
        if taken:
            cells.append(f"{taken[name]:.2f}")
        table.add_row(*cells)
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    from crdkit.experiments.checks import check_network_and_files
    from crdkit.experiments.errors import errors_as_messages, usage
    from crdkit.experiments.invocation import use_cores

    with usage("export"):
        config = tyro.cli(
            ExportRun,
            description=__doc__,
            prog="crdkit export",
            args=None if arguments is None else list(arguments),
        )
        check_network_and_files(config.network, config.samples, config.encoding)
    with errors_as_messages("export"):
        use_cores()
        run(config)


if __name__ == "__main__":
    from crdkit.experiments.invocation import run_script

    run_script(main)
