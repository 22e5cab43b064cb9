"""A run of a pipeline from its configuration to its report: the same for every pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from .command import session, write_config
from .deployed import deploy
from .invocation import command_line
from .reports.page import Page, Predictions
from .reports.paired import best_less_others
from .reports.report import write_report
from .reports.results import as_written, write_results
from .reports.tables import Column, Run, Summary, summarize, terminal_table
from .reports.words import command_in_words, data_in_words

if TYPE_CHECKING:
    from crdkit.engine import Accelerator
    from crdkit.pipelines import RunResult


class Outcome(NamedTuple):
    """What a report is made of."""

    pipeline: Any
    runs: Sequence[RunResult]
    summary: Summary
    columns: Sequence[Column]
    teachers: Any
    """As `Scenario.teachers` gave it."""
    extra: Any
    """As `Scenario.collect` gave it."""
    pictures: Path
    """The folder for pictures, within the run's."""
    rows: Sequence[Run] = ()
    """Those of results.json."""


def method_of(done: RunResult) -> str:
    """The name of a run in lines and legends: its method."""
    return done.method


def row_for_each(config: Any, runs: Sequence[RunResult]) -> list[Run]:
    """A row of results.json for each run."""
    return [{"method": done.method, "seed": done.seed, "metrics": done.metrics} for done in runs]


def teacher_metrics(pipeline: Any, runs: Sequence[RunResult]) -> list[dict[str, float]]:
    """The metrics of each teacher that has some; no teacher is made for them if no method has one."""
    if all(method == "none" for method in pipeline.config.method):
        return []
    return [metrics for metrics in pipeline.teacher_metrics() if metrics]


def nothing(pipeline: Any, *given: Any) -> Any:
    """For what a pipeline does not need."""
    return None


@dataclass(frozen=True)
class Scenario:
    """How a pipeline is made and reported. Functions get the pipeline; `run` calls the rest."""

    task: str
    """As results.json calls it."""
    make_pipeline: Callable[[Any, Accelerator, Path], Any]
    """(configuration, accelerator, run folder) -> pipeline."""
    in_words: Callable[[RunResult], str]
    """What one run reached, for a line of the terminal."""
    columns: Callable[[Any, Summary], list[Column]]
    """(configuration, summary) -> the report's table."""
    page: Callable[[Outcome], Page]
    """Draws the task's own pictures, on the main process, and says what the report says besides the table."""
    name: Callable[[RunResult], str] = method_of
    """A run's name in lines and legends."""
    rows: Callable[[Any, Sequence[RunResult]], list[Run]] = row_for_each
    """(configuration, runs) -> the rows of results.json."""
    begin: Callable[[Any, Path], Any] = nothing
    """(pipeline, run folder) on every process, before the first run."""
    teachers: Callable[[Any, Sequence[RunResult]], Any] = teacher_metrics
    """(pipeline, runs) on every process -> `teacher` of results.json: a mapping, or a list of them."""
    collect: Callable[[Any, Sequence[RunResult]], Any] = nothing
    """(pipeline, runs) on every process -> what `page` needs that all of them must compute together."""
    shown: Callable[[list[Column]], list[Column]] = list
    """The report's columns -> those of the terminal's table."""
    heading: str | None = None
    """Of the terminal's table."""


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
        pipeline = scenario.make_pipeline(config, accelerator, folder)
        if accelerator.is_main_process:
            write_config(config, folder)
        scenario.begin(pipeline, folder)
        runs = []
        for done in pipeline.runs():
            runs.append(done)
            accelerator.print(f"{scenario.name(done)}, seed {done.seed}: {scenario.in_words(done)}")
        if not runs:
            return folder
        teachers, extra = scenario.teachers(pipeline, runs), scenario.collect(pipeline, runs)
        if accelerator.is_main_process:
            rows = scenario.rows(config, runs)
            write_results(
                folder,
                task=scenario.task,
                preset=preset,
                runs=rows,
                environment=provenance,
                config=asdict(config),
                teacher=teachers,
            )
            deploy(folder, scenario.task, pipeline, runs, provenance)
            summary = summarize(rows)
            columns = scenario.columns(config, summary)
            page = scenario.page(
                Outcome(pipeline, runs, summary, columns, teachers, extra, folder / "pictures", rows)
            )
            page = replace(
                page,
                title=f"{page.title}: {data_in_words(getattr(config, 'data', None), preset)}",
                baseline="none" if "none" in config.method else None,
                command=command_in_words(command_line()),
                parts=[*best_less_others(rows, summary, columns, page.headline), *page.parts],
            )
            write_report(folder, page)
            panels = [part.file for part in page.parts if isinstance(part, Predictions)]
            log_pictures(accelerator, {Path(file).stem: folder / "pictures" / file for file in panels})
            shown = scenario.shown(columns)
            Console().print(terminal_table(summary, shown, baseline=page.baseline, title=scenario.heading))
            print(where(folder))
        pipeline.stages.tidy(config.keep)
    return folder


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
        preflight = scenario.make_pipeline(tried, accelerator, place).preflight
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
