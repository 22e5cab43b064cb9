"""Distil ensembles of several sizes into one student: error against the number of teachers.

    crdkit ensemble                                  handwritten digits, minutes
    crdkit ensemble cifar100-wrn --data.root DIR     CIFAR-100, the published recipe
    crdkit ensemble tiny32-small --data.root FILE    20 classes, for two CPU cores

The pool of teachers is trained, or read (`--teacher.weights a.safetensors b.safetensors …`), and judged; then
every method learns from ensembles of every size. The run folder gets config.yaml, pool.json, results.json,
report.html (and report.md), and a folder for each stage with its student.safetensors. An interrupted run goes
on with the same command and `--output DIR --resume`.
"""

from collections.abc import Sequence
from functools import partial


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    from crdkit.ensemble import PRESETS
    from crdkit.experiments import command, scenario
    from crdkit.experiments.doctor.examine import examine
    from crdkit.experiments.scenarios import ENSEMBLE

    actions = (scenario.run, scenario.dry_run, examine)
    run, plan, doctor = (partial(action, ENSEMBLE, name="ensemble") for action in actions)
    command.main(
        "ensemble",
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
