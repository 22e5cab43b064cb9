"""Distil one teacher into a small student, with any of the benchmark's methods beside each other.

    accelerate launch experiments/compress.py                                  handwritten digits, minutes
    accelerate launch experiments/compress.py r32x4-r8x4 --data.root DIR       CIFAR-100, the published recipe
    accelerate launch experiments/compress.py tiny32-small --data.root FILE    20 classes, for two CPU cores

The run folder gets config.yaml, results.json, report.md with pictures, and a folder for each stage with its
student.safetensors. An interrupted run goes on with the same command and `--output DIR --resume`.
"""

from functools import partial


def main() -> None:
    """Entry point of the command line."""
    from crdkit.compression import PRESETS
    from crdkit.experiments import command, scenario
    from crdkit.experiments.report_classification import SCENARIO

    run = partial(scenario.run, SCENARIO, name="compress")
    command.main("compress.py", run, PRESETS, default="digits", description=__doc__ or "")


if __name__ == "__main__":
    main()
