"""Transfer a representation from one modality to another, then judge the student.

    crdkit crossmodal                         RGB→depth, rendered rooms, minutes
    crdkit crossmodal nyu --data.root DIR     RGB→depth, NYU-Depth-v2
    crdkit crossmodal lab                     L→ab, drawn shapes, minutes
    crdkit crossmodal stl10 --data.root DIR   L→ab, STL-10

After RGB→depth the student learns to segment from depth; after L→ab it is judged by linear probes of every
layer and by fine-tuning. The run folder gets config.yaml, results.json, report.html (and report.md), and a
folder for each stage. An interrupted run goes on with the same command and `--output DIR --resume`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdkit.crossmodal import CrossModalConfig
    from crdkit.experiments.scenario import Scenario


def run(config: CrossModalConfig, preset: str) -> Path:
    """All methods and seeds of a configuration, then the report; returns the run folder."""
    from crdkit.experiments import scenario

    return scenario.run(scenario_of(config), config, preset, name="crossmodal")


def plan(config: CrossModalConfig, preset: str) -> None:
    """What `run` would do, printed."""
    from crdkit.experiments import scenario

    scenario.dry_run(scenario_of(config), config, preset, name="crossmodal")


def doctor(config: CrossModalConfig, preset: str) -> None:
    """What would go wrong in `run`, printed."""
    from crdkit.experiments.doctor.examine import examine

    examine(scenario_of(config), config, preset, name="crossmodal")


def scenario_of(config: CrossModalConfig) -> Scenario:
    """How this kind of configuration is run and reported."""
    from crdkit.crossmodal import RecognitionConfig
    from crdkit.experiments.scenarios import RECOGNITION, SEGMENTATION

    return RECOGNITION if isinstance(config, RecognitionConfig) else SEGMENTATION


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    from crdkit.crossmodal import PRESETS
    from crdkit.experiments import command

    command.main(
        "crossmodal",
        run,
        PRESETS,
        default="synthetic",
        description=__doc__ or "",
        arguments=arguments,
        plan=plan,
        doctor=doctor,
    )


if __name__ == "__main__":
    main()
