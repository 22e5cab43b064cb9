"""A run of a pipeline from its configuration to its report: the same for every pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from ..reports import (
    Outcome,
    Predictions,
    TaskReport,
    TeacherNetwork,
    as_written,
    best_less_others,
    command_in_words,
    data_in_words,
    terminal_table,
    write_report,
    write_results,
)
from .deployed import Origin, deploy
from .invocation import command_line
from .session import session, write_config

if TYPE_CHECKING:
    from crdkit.engine import Accelerator
    from crdkit.pipelines import RunResult
    from crdkit.transfer import Teacher


def nothing() -> None:
    """Do nothing."""


class Prepared(NamedTuple):
    """A pipeline over its data, before its first run."""

    pipeline: Any
    shown: Callable[[Sequence[RunResult]], Mapping[str, Any]]
    """Runs → the fields of `Outcome` that this kind of run has; called on every process."""
    begin: Callable[[], None] = nothing
    """Called on every process before the first run."""


@dataclass(frozen=True)
class Scenario:
    """How one kind of configuration is run and reported."""

    report: TaskReport
    prepare: Callable[[Any, Accelerator, Path], Prepared]
    """(configuration, accelerator, run folder) → pipeline; reads the data."""


def run(scenario: Scenario, config: Any, preset: str, *, name: str) -> Path:
    """Every run of a configuration, then results.json, the report and the table; returns the run folder.

    Args:
        preset: the configuration's name, for the folder.
        name: of the script, for the run folder.
    """
    from rich.console import Console

    from crdkit.engine import log_pictures

    if is_over(config):
        print(
            f"{config.output} is done, and --keep none left no weights to go on from:\n{where(config.output)}"
        )
        return config.output
    with session(config, f"{name}-{preset}") as (folder, accelerator, provenance):
        config = replace(config, precision=accelerator.mixed_precision)
        report, prepared = scenario.report, scenario.prepare(config, accelerator, folder)
        pipeline = prepared.pipeline
        if accelerator.is_main_process:
            write_config(config, folder)
        prepared.begin()
        runs = []
        for done in pipeline.runs():
            done.network.cpu()  # it waits there until the report needs it
            runs.append(done)
            accelerator.print(f"{report.name(done)}, seed {done.seed}: {report.line(done)}")
        if not runs:
            return folder
        shown = dict(prepared.shown(runs))
        taught = any(method != "none" for method in config.method)
        if "teacher_metrics" not in shown:  # no teacher is made for them if no method has one
            shown["teacher_metrics"] = [m for m in pipeline.teacher_metrics() if m] if taught else []
        if accelerator.is_main_process:
            outcome = Outcome(
                folder,
                config,
                runs,
                report.rows(config, runs),
                accelerator.device,
                teachers=teacher_networks(pipeline.teachers if taught else (), config, folder),
                num_samples=len(pipeline.data.dataset),
                **shown,
            )
            write_results(
                folder,
                task=report.task,
                preset=preset,
                runs=outcome.rows,
                environment=provenance,
                config=asdict(config),
                teacher=outcome.teacher_metrics,
            )
            deploy(
                folder,
                runs,
                Origin.of(report.task, config, outcome.num_samples, provenance),
                describe=pipeline.describe_network,
                held_out=pipeline.held_out,
                modality=pipeline.data.modality,
            )
            page = report.page(outcome)
            page = replace(
                page,
                title=f"{page.title}: {data_in_words(getattr(config, 'data', None), preset)}",
                baseline="none" if "none" in config.method else None,
                command=command_in_words(command_line()),
                parts=[
                    *best_less_others(outcome.rows, outcome.summary, page.columns, page.headline),
                    *page.parts,
                ],
            )
            write_report(folder, page)
            panels = [part.file for part in page.parts if isinstance(part, Predictions)]
            log_pictures(accelerator, {Path(file).stem: outcome.pictures / file for file in panels})
            columns = report.shown(page.columns)
            table = terminal_table(outcome.summary, columns, baseline=page.baseline, title=report.heading)
            Console().print(table)
            print(where(folder))
        pipeline.stages.tidy(config.keep)
    return folder


def teacher_networks(teachers: Sequence[Teacher], config: Any, folder: Path) -> list[TeacherNetwork]:
    """Return the teachers of a run with the folders of their trainings."""
    from crdkit.pipelines import stage_folder

    return [
        TeacherNetwork(
            teacher.name,
            teacher.network,
            teacher.modality,
            folder / stage_folder(config.teacher.seed + number, modality=teacher.modality),
        )
        for number, teacher in enumerate(teachers)
    ]


def is_over(config: Any) -> bool:
    """Whether a run is to be continued that is done, with these settings, and kept no weights."""
    if not config.resume:
        return False
    try:
        results = json.loads((config.output / "results.json").read_text(encoding="utf-8"))
        before = results["config"]
    except (OSError, ValueError, KeyError):
        return False
    now = as_written(config)
    free = ["output", "resume", "keep", "reuse", "trackers"]
    if config.precision == "auto":
        free.append("precision")
    same = all(before.get(key) == value for key, value in now.items() if key not in free)
    return same and before.get("keep") == "none"


def where(folder: Path) -> str:
    """What a finished run left, and where, a line each."""
    left = (
        ("report", "report.html"),
        ("report", "report.md"),
        ("figures", "results.json"),
        ("settings", "config.yaml"),
        ("students", "deploy"),
        ("trainings", "runs"),
        ("teachers", "teachers"),
    )
    return "\n".join(f"{what:10}{folder / name}" for what, name in left if (folder / name).exists())


def dry_run(scenario: Scenario, config: Any, preset: str, *, name: str) -> None:
    """Print the plan of a configuration: its trainings, their steps and parameters, memory, disk, minutes.

    A few steps of each kind are taken on networks that are thrown away; nothing stays on the disk.
    """
    from .plan import print_plan

    with trial(config, name) as (tried, place, accelerator):
        preflight = scenario.prepare(tried, accelerator, place).pipeline.preflight
        plan, advice = preflight.plan(), preflight.advice()
        if accelerator.is_main_process:
            print_plan(plan, config, preset, ranks=accelerator.num_processes, device=accelerator.device)
            print(*advice, sep="\n", end="\n" if advice else "")


@contextmanager
def trial(config: Any, name: str) -> Iterator[tuple[Any, Path, Accelerator]]:
    """A configuration for a folder that does not stay, that folder, and its accelerator."""
    with TemporaryDirectory() as folder:
        tried = replace(config, output=Path(folder) / "trial", resume=False, trackers=())
        with session(tried, name) as (place, accelerator, _):
            yield tried, place, accelerator
