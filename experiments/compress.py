"""Distil one teacher into a small student, with any of the benchmark's methods beside each other.

    crdkit compress                                  handwritten digits, minutes
    crdkit compress r32x4-r8x4 --data.root DIR       CIFAR-100, the published recipe
    crdkit compress tiny32-small --data.root FILE    20 classes, for two CPU cores

The run folder gets config.yaml, results.json, report.html (and report.md), and a folder per stage with its
student.safetensors. An interrupted run goes on with the same command and `--output DIR --resume`.
"""

from collections.abc import Sequence
from functools import partial


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    from crdkit.compression import PRESETS
    from crdkit.experiments import command, scenario
    from crdkit.experiments.doctor.examine import examine
    from crdkit.experiments.scenarios import COMPRESSION

    actions = (scenario.run, scenario.dry_run, examine)
    run, plan, doctor = (partial(action, COMPRESSION, name="compress") for action in actions)
    command.main(
        "compress",
        run,
        PRESETS,
        default="digits",
        description=__doc__ or "",
        arguments=arguments,
        plan=plan,
        doctor=doctor,
    )


if __name__ == "__main__":
    main()
