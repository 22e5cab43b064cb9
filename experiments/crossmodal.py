"""Transfer a representation from one modality to another, then judge the student.

    accelerate launch experiments/crossmodal.py                         RGB→depth, rendered rooms, minutes
    accelerate launch experiments/crossmodal.py nyu --data.root DIR     RGB→depth, NYU-Depth-v2
    accelerate launch experiments/crossmodal.py lab                     L→ab, drawn shapes, minutes
    accelerate launch experiments/crossmodal.py stl10 --data.root DIR   L→ab, STL-10

After RGB→depth the student learns to segment from depth; after L→ab it is judged by linear probes of every
layer and by fine-tuning. The run folder gets config.yaml, results.json, report.md with pictures, and a folder
for each stage. An interrupted run goes on with the same command and `--output DIR --resume`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crdkit.crossmodal import CrossModalConfig
    from crdkit.experiments.report import Run


def run(config: CrossModalConfig, preset: str) -> Path:
    """All methods and seeds of a configuration, then the report; returns the run folder."""
    from rich.console import Console

    from crdkit.crossmodal import RecognitionConfig
    from crdkit.experiments import recognition, segmentation
    from crdkit.experiments.command import session, write_config
    from crdkit.experiments.report import summarize, terminal_table, write_results

    scenario: Any = recognition if isinstance(config, RecognitionConfig) else segmentation
    with session(config, f"crossmodal-{preset}") as (folder, accelerator, provenance):
        protocol = scenario.make_protocol(config, accelerator, folder)
        if accelerator.is_main_process:
            write_config(config, folder)
        runs = []
        for done in protocol.runs():
            runs.append(done)
            accelerator.print(f"{done.method}, seed {done.seed}: {scenario.in_words(done.metrics)}")
        if accelerator.is_main_process:
            results: list[Run] = [
                {"method": done.method, "seed": done.seed, "metrics": done.metrics} for done in runs
            ]
            write_results(
                folder, task=scenario.TASK, preset=preset, runs=results, environment=provenance,
                config=asdict(config), teacher=protocol.teacher_metrics(),
            )  # fmt: skip
            scenario.report(protocol, runs, preset, folder)
            baseline = "none" if "none" in config.method else None
            summary = summarize(results)
            Console().print(terminal_table(summary, scenario.columns(summary), baseline=baseline))
            print(f"report: {folder / 'report.md'}")
    return folder


def main() -> None:
    """Entry point of the command line."""
    from crdkit.crossmodal import PRESETS
    from crdkit.experiments import command

    command.main("crossmodal.py", run, PRESETS, default="synthetic", description=__doc__ or "")


if __name__ == "__main__":
    main()
