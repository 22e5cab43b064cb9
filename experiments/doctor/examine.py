"""`crdkit doctor COMMAND …`: everything that a run needs, looked at before it starts.

    crdkit doctor crossmodal --data.source folder --data.root DIR
    crdkit doctor compress tiny32-small --data.root FILE

COMMAND is crossmodal, compress or ensemble, with the preset and the flags of the run. One page says what was
found: samples, ranges, classes, doubles across the parts, teachers, a step of each method, memory, disk,
minutes; sheets of samples to look at are in a folder under runs/. Exit code 1 if the run would fail, else 0;
nothing trains.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..command import split_description
from ..errors import USAGE, Refused
from ..session import dated
from .finding import Findings

if TYPE_CHECKING:
    from crdkit.pipelines import Plan, Preflight

    from ..scenario import Scenario

COMMANDS = ("crossmodal", "compress", "ensemble")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: the command that is named, examined in the place of run."""
    from importlib import import_module

    from crdkit.common import nearest

    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print("\n\n".join(split_description(__doc__ or "")), f"COMMAND: {', '.join(COMMANDS)}", sep="\n\n")
        raise SystemExit(0 if given else USAGE)
    name, *rest = given
    if name not in COMMANDS:
        raise Refused("doctor", f"no command {name!r} to examine; {nearest(name, COMMANDS)}", USAGE)
    import_module(f"crdkit.experiments.{name}").main([*rest, "--doctor"])


def examine(scenario: Scenario, config: Any, preset: str, *, name: str) -> None:
    """Examine a configuration and print what is found; the process ends with 1 if there is a problem."""
    from crdkit.common import write_json
    from crdkit.engine import in_words

    from ..scenario import trial
    from .data import examine_data
    from .machine import examine_packages, examine_processor

    folder = dated(f"doctor-{name}-{preset}")
    with trial(config, name) as (tried, place, accelerator):
        found, plan = Findings(quiet=not accelerator.is_main_process), None
        examine_processor(found, accelerator.device, accelerator.mixed_precision)
        with _refusals(found, "data"):
            with _told(found, "files"):
                pipeline = scenario.prepare(tried, accelerator, place).pipeline
            splits = pipeline.data_splits()
            compared = getattr(config.data, "source", "") == "folder" and splits.pairs is not None
            examine_data(found, splits, pipeline.data.groups, folder, compared=compared)
            plan = _examine_run(found, pipeline.preflight, config.method, config.output or Path("runs"))
        examine_packages(found)
    if plan is not None and found.count("problem") == 0:
        found.add(
            "ok", "time", f"about {in_words(plan.seconds)} of training, reading and evaluations not counted"
        )
    if accelerator.is_main_process:
        content = {"findings": found.as_rows(), "plan": None if plan is None else asdict(plan)}
        write_json(folder / "doctor.json", {"command": name, "preset": preset, **content})
        problems, notes = found.count("problem"), found.count("note")
        print(f"{problems} problems, {notes} notes; this page and the sheets: {folder}")
    if found.count("problem"):
        raise SystemExit(1)


def _examine_run(found: Findings, preflight: Preflight, methods: Sequence[str], output: Path) -> Plan | None:
    """Try every method, then measure what those that run need. None if no method runs."""
    from .machine import examine_loading, examine_space

    workspace = preflight.make_workspace()
    runnable = []
    for method in methods:
        with _refusals(found, "method"), _told(found, "networks"):
            preflight.of_methods([method]).check()
            runnable.append(method)
    if not runnable:
        return None
    chosen = preflight.of_methods(runnable)
    plan = chosen.plan()
    _name_trainings(found, plan)
    for line in chosen.advice():
        found.add("note", "teacher", line)
    transfer, data = workspace.config.transfer, workspace.builder.data
    examine_loading(found, plan, data.dataset, transfer.train)
    examine_space(found, plan, transfer, workspace.accelerator.device, output)
    return plan


def _name_trainings(found: Findings, plan: Plan) -> None:
    """Add a finding for each kind of training that was tried."""
    from crdkit.engine import in_words

    from ..plan import MIB

    for training in plan.trainings:
        topic = "teacher" if training.kind == "teacher" else "method"
        memory = training.memory_bytes
        banks = f", memories of {memory / MIB:,.1f} MiB" if memory else ""
        times = "" if training.count == 1 else f"{training.count} × "
        found.add(
            "ok",
            topic,
            f"{training.label}: a step runs; {training.parameters:,} parameters train{banks}; "
            f"{times}{training.steps:,} steps, {in_words(training.seconds)}",
        )


@contextmanager
def _refusals(found: Findings, topic: str) -> Iterator[None]:
    """What a person can put right is a problem; the rest of the page goes on."""
    from crdkit.common import CrdkitError, UserError

    try:
        yield
    except (CrdkitError, OSError, UserError) as error:
        found.add("problem", topic, str(error))


@contextmanager
def _told(found: Findings, topic: str) -> Iterator[None]:
    """What is said and warned inside becomes findings."""
    said = io.StringIO()
    try:
        with redirect_stdout(said), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            yield
    finally:
        for line in filter(None, map(str.strip, said.getvalue().splitlines())):
            text = line.removeprefix("warning: ")
            found.add("note" if text != line else "ok", topic, text)
        for warning in caught:
            if issubclass(warning.category, UserWarning):
                found.add("note", topic, str(warning.message).splitlines()[0])
