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


def main() -> None:
    """Entry point of the command line."""
    from crdkit.crossmodal import PRESETS
    from crdkit.experiments import command

    command.main("crossmodal.py", run, PRESETS, default="synthetic", description=__doc__ or "")


if __name__ == "__main__":
    main()
