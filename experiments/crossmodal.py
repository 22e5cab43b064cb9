"""Transfer a representation from RGB to depth, then segment from depth alone.

    accelerate launch experiments/crossmodal.py                            rendered rooms, minutes
    accelerate launch experiments/crossmodal.py nyu --data.root DIR        NYU-Depth-v2, the paper's settings
    accelerate launch experiments/crossmodal.py nyu-small --data.root DIR  the same for two CPU cores

The run folder gets config.yaml, results.json, report.md with pictures, and a folder for each stage. An
interrupted run goes on with the same command and `--output DIR --resume`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdkit.crossmodal import MethodRun, SegmentationConfig, SegmentationProtocol


def run(config: SegmentationConfig, preset: str) -> Path:
    """All methods and seeds of a configuration, then the report; returns the run folder."""
    from rich.console import Console

    from crdkit.crossmodal import SegmentationProtocol, load_samples
    from crdkit.engine import make_accelerator
    from crdkit.experiments.command import run_folder, write_config
    from crdkit.experiments.provenance import environment
    from crdkit.experiments.report import SEGMENTATION_COLUMNS, Run, summarise, terminal_table, write_results

    folder = run_folder(config.output, config.resume, f"crossmodal-{preset}")
    provenance = environment()
    accelerator = make_accelerator(
        precision=config.precision, cpu=config.cpu, trackers=config.trackers, folder=folder
    )
    try:
        protocol = SegmentationProtocol(config, load_samples(config.data), accelerator, folder)
        if accelerator.is_main_process:
            write_config(config, folder)
        runs = []
        for done in protocol.runs():
            runs.append(done)
            accuracy, iou = (100 * done.metrics[name] for name in ("pixel_accuracy", "mean_iou"))
            accelerator.print(
                f"{done.method}, seed {done.seed}: pixel accuracy {accuracy:.1f}, mean IoU {iou:.1f}"
            )
        if accelerator.is_main_process:
            results: list[Run] = [
                {"method": done.method, "seed": done.seed, "metrics": done.metrics} for done in runs
            ]
            write_results(
                folder,
                task="crossmodal",
                preset=preset,
                runs=results,
                environment=provenance,
                config=asdict(config),
            )
            report(protocol, runs, preset, folder)
            baseline = "none" if "none" in config.method else None
            Console().print(terminal_table(summarise(results), SEGMENTATION_COLUMNS, baseline=baseline))
            print(f"report: {folder / 'report.md'}")
    finally:
        accelerator.end_training()
    return folder


def report(protocol: SegmentationProtocol, runs: list[MethodRun], preset: str, folder: Path) -> None:
    """report.md: the table, predictions of the first seed side by side, learning curves."""
    import torch

    from crdkit.experiments.pictures import PanelRow
    from crdkit.experiments.report import SEGMENTATION_COLUMNS, write_report

    data, test = protocol.config.data, protocol.samples.test
    chosen = [round(i * (len(test) - 1) / 3) for i in range(4)]
    batch = test.__getitems__(chosen)
    predictions = {}
    with torch.no_grad():
        for done in runs:
            if done.seed == protocol.config.seed[0]:
                view = batch[data.student_view].to(protocol.accelerator.device)
                predictions[done.method] = done.network.eval()(view).logits.argmax(1).cpu()
    panel = []
    if data.teacher_view == "rgb" and data.student_view == "depth":
        panel = [
            PanelRow(
                batch["rgb"][i],
                batch["depth"][i],
                batch["label"][i],
                {m: p[i] for m, p in predictions.items()},
            )
            for i in range(len(chosen))
        ]
    histories: dict[str, list[list[dict[str, float]]]] = {}
    for done in runs:
        histories.setdefault(done.method, []).append(done.history)
    last = protocol.teacher_history[-1] if protocol.teacher_history else {}
    notes = (
        f"The teacher sees {data.teacher_view} and reaches pixel accuracy "
        f"{100 * last['pixel_accuracy']:.1f}, mean IoU {100 * last['mean_iou']:.1f} on the test split."
        if last
        else f"The teacher sees {data.teacher_view} and never saw the labels."
    )
    write_report(
        folder, SEGMENTATION_COLUMNS, title=f"{data.teacher_view} to {data.student_view}: {preset}",
        baseline="none" if "none" in protocol.config.method else None, histories=histories,
        curves=SEGMENTATION_COLUMNS[:2], panel=panel, class_names=protocol.samples.class_names, notes=notes,
    )  # fmt: skip


def main() -> None:
    """Entry point of the command line."""
    from crdkit.crossmodal import PRESETS
    from crdkit.experiments import command

    command.main("crossmodal.py", run, PRESETS, default="synthetic", description=__doc__ or "")


if __name__ == "__main__":
    main()
