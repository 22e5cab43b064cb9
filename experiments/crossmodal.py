"""Transfer a representation from one modality to another, then judge the student.

    crdkit crossmodal                         RGB→depth, rendered rooms, minutes
    crdkit crossmodal nyu --data.root DIR     RGB→depth, NYU-Depth-v2
    crdkit crossmodal lab                     L→ab, drawn shapes, minutes
    crdkit crossmodal stl10 --data.root DIR   L→ab, STL-10

After RGB→depth the student learns to segment from depth; after L→ab it is judged by linear probes of every
layer and by fine-tuning. The run folder gets config.yaml, results.json, report.md with pictures, and a folder
for each stage. An interrupted run goes on with the same command and `--output DIR --resume`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crdkit.crossmodal import CrossModalConfig


def run(config: CrossModalConfig, preset: str) -> Path:
    """All methods and seeds of a configuration, then the report; returns the run folder."""
    from crdkit.crossmodal import RecognitionConfig
    from crdkit.experiments import report_recognition, report_segmentation, scenario

    how = report_recognition if isinstance(config, RecognitionConfig) else report_segmentation
    return scenario.run(how.SCENARIO, config, preset, name="crossmodal")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    from crdkit.crossmodal import PRESETS
    from crdkit.experiments import command

    command.main(
        "crossmodal", run, PRESETS, arguments=arguments, default="synthetic", description=__doc__ or ""
    )


if __name__ == "__main__":
    main()
