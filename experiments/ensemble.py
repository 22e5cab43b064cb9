"""Distil ensembles of several sizes into one student: error against the number of teachers.

    accelerate launch experiments/ensemble.py                                  handwritten digits, minutes
    accelerate launch experiments/ensemble.py cifar100-wrn --data.root DIR     CIFAR-100, the published recipe
    accelerate launch experiments/ensemble.py tiny32-small --data.root FILE    20 classes, for two CPU cores

The pool of teachers is trained, or read (`--members.weights a.safetensors b.safetensors …`), and judged; then
every method learns from ensembles of every size. The run folder gets config.yaml, pool.json, results.json,
report.md with the figure, and a folder for each stage with its student.safetensors. An interrupted run goes
on with the same command and `--output DIR --resume`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crdkit.ensemble import EnsembleConfig, Protocol, RunResult
    from crdkit.experiments.report import Run, Summary


def run(config: EnsembleConfig, preset: str) -> Path:
    """The pool, then every method with every ensemble and seed, then the report; returns the run folder."""
    from rich.console import Console

    from crdkit.data import load_splits
    from crdkit.engine.files import write_json
    from crdkit.ensemble import Protocol
    from crdkit.experiments.command import session, write_config
    from crdkit.experiments.report import ensemble_columns, summarize, terminal_table, write_results

    with session(config, f"ensemble-{preset}") as (folder, accelerator, provenance):
        images = load_splits(config.data, accelerator.device)
        protocol = Protocol(config, images, accelerator, folder)
        if accelerator.is_main_process:
            write_config(config, folder)
        if memory := protocol.memory():
            accelerator.print(memory)
        pool = protocol.describe()
        if accelerator.is_main_process:
            write_json(folder / "pool.json", pool)
            Console().print(pool_table(pool))
        if not config.teachers:
            accelerator.print(f"the pool alone: {folder / 'pool.json'}")
            return folder
        runs = []
        for done in protocol.runs():
            runs.append(done)
            error = 100 * (1 - done.metrics["top1"])
            accelerator.print(f"{name_of(done)}, seed {done.seed}: error {error:.2f}")
        if accelerator.is_main_process:
            results = rows(runs, config.teachers)
            pool["ensembles"] = ensemble_errors(protocol, runs)
            write_results(
                folder, task="ensemble", preset=preset, runs=results, environment=provenance,
                config=asdict(config), teacher=pool,
            )  # fmt: skip
            summary, columns = summarize(results), ensemble_columns(config.teachers)
            report(protocol, runs, summary, pool, preset, folder)
            baseline = "none" if "none" in config.method else None
            half = len(columns) // 2
            Console().print(
                terminal_table(summary, columns[:half], baseline=baseline, title="error, percent")
            )
            print(f"report: {folder / 'report.md'}")
    return folder


def name_of(done: RunResult) -> str:
    """Method and number of teachers."""
    number = len(done.teachers)
    return f"{done.method}, {number} teacher{'s' * (number > 1)}" if number else done.method


def rows(runs: list[RunResult], teachers: tuple[int, ...]) -> list[Run]:
    """A row of results.json for each method, seed and draw: `error_N` and `best_error_N` of N teachers.

    The student alone has the same error whatever the number.
    """
    found: dict[tuple[str, int, int], Run] = {}
    for done in runs:
        row = found.setdefault(
            (done.method, done.seed, done.draw),
            {"method": done.method, "seed": done.seed, "draw": done.draw, "metrics": {}},
        )
        for number in (len(done.teachers),) if done.teachers else teachers:
            row["metrics"][f"error_{number}"] = 1 - done.metrics["top1"]
            row["metrics"][f"best_error_{number}"] = 1 - done.metrics["best_top1"]
            row["metrics"][f"agreement_{number}"] = done.metrics.get("agreement")
    return list(found.values())


def ensemble_errors(protocol: Protocol, runs: list[RunResult]) -> dict[str, list[float]]:
    """The error of the ensembles themselves by their size, one for each that taught."""
    from crdkit.ensemble import mean_logits

    label = protocol.images.test.labels.cpu()
    drawn = dict.fromkeys(tuple(sorted(done.teachers)) for done in runs if done.teachers)
    found: dict[str, list[float]] = {}
    for teachers in sorted(drawn, key=len):
        named = mean_logits(protocol.logits[list(teachers)]).argmax(1)
        found.setdefault(str(len(teachers)), []).append(float((named != label).double().mean()))
    return found


def pool_table(pool: dict[str, Any]) -> Any:
    """Accuracy, calibration and diversity of the members, for a terminal."""
    from rich.table import Table

    table = Table(title="the pool")
    for heading in ("member", "top-1", "calibration error", "disagreement", "KL"):
        table.add_column(heading, justify="left" if heading == "member" else "right")
    count = len(pool["members"])
    for number, member in enumerate([*pool["members"], {**pool["ensemble"], "name": "all together"}]):
        cells = [f"{100 * member['top1']:.2f}", f"{100 * member['calibration_error']:.1f}"]
        if 1 < count > number:  # means over the other members
            cells.append(f"{100 * sum(pool['disagreement'][number]) / (count - 1):.1f}")
            cells.append(f"{sum(pool['divergence'][number]) / (count - 1):.3f}")
        table.add_row(member["name"], *cells)
    return table


def report(
    protocol: Protocol,
    runs: list[RunResult],
    summary: Summary,
    pool: dict[str, Any],
    preset: str,
    folder: Path,
) -> None:
    """report.md: the table, error against the number of teachers, diversity of the pool, learning curves."""
    from crdkit.experiments import pictures
    from crdkit.experiments.report import Column, ensemble_columns, pool_figures, write_report

    config = protocol.config
    baseline = "none" if "none" in config.method else None
    pictures.error_curves(
        folder / "pictures" / "errors.png", summary, config.teachers, ensembles=pool["ensembles"]
    )
    pictures.matrix_picture(
        folder / "pictures" / "diversity.png",
        {"disagreement": pool["disagreement"], "KL(row ‖ column)": pool["divergence"]},
    )
    histories: dict[str, list[list[dict[str, float]]]] = {}
    for done in runs:
        histories.setdefault(name_of(done), []).append(done.history)
    write_report(
        folder, ensemble_columns(config.teachers), title=f"Ensembles into {config.student}: {preset}",
        baseline=baseline, histories=histories, curves=[Column("top1", "top-1")], notes=pool_figures(pool),
        drawn={
            "Error against the number of teachers": "errors.png",
            "How the members differ": "diversity.png",
        },
    )  # fmt: skip


def main() -> None:
    """Entry point of the command line."""
    from crdkit.ensemble import PRESETS
    from crdkit.experiments import command

    command.main("ensemble.py", run, PRESETS, default="digits", description=__doc__ or "")


if __name__ == "__main__":
    main()
