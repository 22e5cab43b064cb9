"""Distil one teacher into a small student, with any of the benchmark's methods beside each other.

    accelerate launch experiments/compress.py                                  handwritten digits, minutes
    accelerate launch experiments/compress.py r32x4-r8x4 --data.root DIR       CIFAR-100, the published recipe
    accelerate launch experiments/compress.py tiny32-small --data.root FILE    20 classes, for two CPU cores

The run folder gets config.yaml, results.json, report.md with pictures, and a folder for each stage with its
student.safetensors. An interrupted run goes on with the same command and `--output DIR --resume`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdkit.compression import CompressionConfig, Protocol, RunResult
    from crdkit.experiments.report import Column


def run(config: CompressionConfig, preset: str) -> Path:
    """All methods and seeds of a configuration, then the report; returns the run folder."""
    from rich.console import Console

    from crdkit.compression import Protocol
    from crdkit.data import load_splits
    from crdkit.experiments.command import session, write_config
    from crdkit.experiments.report import (
        Run,
        classification_columns,
        summarize,
        teacher_figures,
        terminal_table,
        write_results,
    )

    with session(config, f"compress-{preset}") as (folder, accelerator, provenance):
        images = load_splits(config.data, accelerator.device)
        protocol = Protocol(config, images, accelerator, folder)
        if accelerator.is_main_process:
            write_config(config, folder)
        runs = []
        for done in protocol.runs():
            runs.append(done)
            accelerator.print(f"{done.method}, seed {done.seed}: top-1 {100 * done.metrics['top1']:.2f}")
        if accelerator.is_main_process:
            results: list[Run] = [
                {"method": done.method, "seed": done.seed, "metrics": done.metrics} for done in runs
            ]
            found = protocol.compare(protocol.teacher)
            teacher = {"top1": found["top1"], **protocol.probe(protocol.teacher)}
            write_results(
                folder, task="compression", preset=preset, runs=results, environment=provenance,
                config=asdict(config), teacher=teacher,
            )  # fmt: skip
            summary = summarize(results)
            columns = classification_columns(summary)
            of = config.teacher.architecture
            notes = f"Teacher {of}: {teacher_figures(teacher)}. Student {config.student}."
            report(protocol, runs, columns, notes, preset, folder)
            baseline = "none" if "none" in config.method else None
            Console().print(terminal_table(summary, columns, baseline=baseline))
            print(f"report: {folder / 'report.md'}")
    return folder


def report(
    protocol: Protocol, runs: list[RunResult], columns: list[Column], notes: str, preset: str, folder: Path
) -> None:
    """report.md: the table, learning curves, correlations of the classes, and on demand t-SNE."""
    from crdkit.experiments import pictures
    from crdkit.experiments.report import write_report

    config = protocol.config
    first = [done for done in runs if done.seed == config.seed[0]]
    drawn = {}
    differences = {
        done.method: done.found["correlation"] - done.found["teacher_correlation"] for done in first
    }
    pictures.matrix_picture(folder / "pictures" / "correlation.png", differences)
    drawn["Correlation of the classes' logits, the student's less the teacher's"] = "correlation.png"
    if config.tsne:
        from crdkit.evaluation import extract, tsne

        device = protocol.accelerator.device
        for done in first:
            points, label = tsne(extract(done.network, protocol.images.test, modality="rgb", device=device))
            name = f"tsne-{done.method}.png"
            pictures.embedding_picture(
                folder / "pictures" / name, points, label, class_names=protocol.images.test.class_names
            )
            drawn[f"Test embeddings of {done.method}, t-SNE"] = name
    histories: dict[str, list[list[dict[str, float]]]] = {}
    for done in runs:
        histories.setdefault(done.method, []).append(done.history)
    write_report(
        folder, columns, title=f"{config.teacher.architecture} to {config.student}: {preset}",
        baseline="none" if "none" in config.method else None, histories=histories,
        curves=columns[:1], drawn=drawn, notes=notes,
    )  # fmt: skip


def main() -> None:
    """Entry point of the command line."""
    from crdkit.compression import PRESETS
    from crdkit.experiments import command

    command.main("compress.py", run, PRESETS, default="digits", description=__doc__ or "")


if __name__ == "__main__":
    main()
