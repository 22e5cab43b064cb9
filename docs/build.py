"""Fill the tables in the documentation from the figures in benchmarks/results/*.json.

    python docs/build.py            # rewrite the pages
    python docs/build.py --check    # exit 1 where a page differs from the figures

A table stands between `<!-- begin results NAME -->` and `<!-- end results NAME -->`, and is made from
benchmarks/results/NAME.json, a copy of a run's results.json; NAME-alignment from the same file holds how well
its students agree with the teacher, NAME-followed how those of an ensemble follow their teachers; `NAME of
METHOD METHOD …` has some rows of the last epoch's columns, `NAME less METHOD` how much that method is above
each other, by seed, and `NAME less METHOD from OTHER` how much each of its methods is above one of the other
file, or `NAME less itself from OTHER` above the same one; `NAME and MORE` before those words has the runs of
both files, further seeds of one teacher;
`headline` is the README's table (headline.py). Nothing between the two is written by hand.
A picture that a page shows as pictures/NAME.png is drawn from the file of that name if there is one, anew
where the page has changed.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ablated
from growth import PICTURES
from headline import headline
from timings import BENCHMARKS

from crdkit.reports import classification, drawing, ensemble, recognition, save
from crdkit.reports.alignment import COLUMNS as ALIGNMENT_COLUMNS
from crdkit.reports.alignment import alignment_summary
from crdkit.reports.paired import less_others, less_reference, less_same
from crdkit.reports.segmentation import COLUMNS as SEGMENTATION_COLUMNS
from crdkit.reports.tables import Column, last_epoch, present, summarize
from crdkit.reports.views import rows_view, summary_view
from crdkit.reports.words import environment_line, listed, teacher_figures

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"

TABLES = BENCHMARKS | {"ablations": ablated.table}
DRAWN = PICTURES | {"ablations": ablated.curves}

# Tian, Krishnan, Isola: Contrastive Representation Distillation, ICLR 2020, RGB→depth on NYU-Depth-v2:
# pixel accuracy and mean IoU, percent. Their CRD is local-global, their teacher an ImageNet ResNet-50.
PUBLISHED = {
    "none": (56.4, 35.8),
    "kd": (58.9, 38.0),
    "at": (60.1, 39.5),
    "fitnet": (60.8, 40.7),
    "crd-local": (61.6, 41.8),
}

MARKED = re.compile(
    r"(?P<begin><!-- begin results (?P<name>[\w.-]+)(?: and (?P<more>[\w.-]+))?"
    r"(?: of (?P<methods>[^>]+?)| less (?P<best>[^>]+?))? -->\n).*?"
    r"(?P<end><!-- end results (?P=name) -->)",
    re.DOTALL,
)
MARKER = re.compile(r"<!-- (?:begin|end) results [\w.-]+(?: (?:and|of|less) [^>]+?)? -->")
PICTURED = re.compile(r"\]\((?P<file>pictures/(?P<name>[\w.-]+)\.png)\)")


def fill(page: str, results: Path) -> str:
    """The page with every marked table made anew from the JSON files in ``results``.

    Raises:
        ValueError: a marker without its partner, or two files that are not `joined`.
        FileNotFoundError: a marker whose JSON file is missing.
        KeyError: a marker that asks for a method which its file does not have.
    """

    def read(name: str) -> dict[str, Any]:
        path = results / f"{name}.json"
        if not path.is_file():
            raise FileNotFoundError(f"the page has a table {name!r} but there is no {path}")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def table(match: re.Match[str]) -> str:
        if match["name"] == "headline":
            return match["begin"] + headline(results) + match["end"]
        name, made = source(match["name"])
        found = joined(read(name), read(match["more"])) if match["more"] else read(name)
        if match["best"]:
            method, _, other = match["best"].partition(" from ")
            content = differences(found, method, read(other) if other else None)
        else:
            content = excerpt(found, match["methods"].split()) if match["methods"] else made(found)
        return match["begin"] + content + match["end"]

    unpaired = MARKER.findall(MARKED.sub("", page))
    if unpaired:
        raise ValueError(f"marker without its partner: {unpaired[0]}")
    return MARKED.sub(table, page)


def joined(first: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Of two files the methods that both have, with the runs of both.

    Raises:
        ValueError: teachers of other figures, or a seed that both have.
    """
    # One that no figures tell of is known by its settings.
    teachers = [one.get("teacher") or one["config"]["teacher"] for one in (first, more)]
    if teachers[0] != teachers[1]:
        raise ValueError(f"two teachers: {teachers[0]} and {teachers[1]}")
    both = [*first["runs"], *more["runs"]]
    runs = [run for run in both if run["method"] in first["summary"] and run["method"] in more["summary"]]
    return {**first, "runs": runs, "summary": summarize(runs)}


def excerpt(results: Mapping[str, Any], methods: Sequence[str]) -> str:
    """The rows of some methods, in the columns of the last epoch."""
    shown = last_epoch(columns_of_task(results))
    rows = {name: results["summary"][name] for name in methods}
    return summary_view(rows, shown, baseline=methods[0]).markdown()


def differences(results: Mapping[str, Any], method: str, other: Mapping[str, Any] | None = None) -> str:
    """A method less each other one of the file, or each of the file less that one of another file (`itself`:
    the same one), in the columns of the last epoch."""
    if not (other and method == "itself") and method not in (results if other is None else other)["summary"]:
        raise KeyError(method)
    shown = present(results["summary"], last_epoch(columns_of_task(results)))
    if other is None:
        table, words = less_others(results["runs"], method, shown), f"`{method}` less `{{}}`"
    elif method == "itself":
        table, words = less_same(results["runs"], other["runs"], shown), "`{}`"
    else:
        reference = [run for run in other["runs"] if run["method"] == method]
        table, words = less_reference(results["runs"], reference, shown), f"`{{}}` less `{method}`"
    rows = [[words.format(name), *cells] for name, *cells in table.rows]
    return f"{rows_view(['', *table.columns[1:]], rows).markdown()}\n{table.note}\n"


def columns_of_task(results: Mapping[str, Any]) -> list[Column]:
    """What the tables of a pipeline's results show."""
    task, summary = results["task"], results["summary"]
    if task == "crossmodal":
        return list(SEGMENTATION_COLUMNS)
    if task == "compression":
        return list(classification.columns(summary))
    if task == "recognition":
        return list(recognition.columns(summary))
    if task == "ensemble":
        return list(ensemble.columns_of(results["config"]["teachers"]))
    metrics = dict.fromkeys(name for method in summary.values() for name in method)
    return [Column(name, name.replace("_", " "), scale=1.0, digits=3) for name in metrics]


def draw(path: Path, results: Mapping[str, Any]) -> None:
    """The curves of one results file.

    Raises:
        ValueError: its task has none.
    """
    if results.get("benchmark") in DRAWN:
        DRAWN[results["benchmark"]](path, results)
        return
    summary = results["summary"]
    if results["task"] == "ensemble":
        together = results["teacher"]["ensembles"]
        chart = ensemble.errors_by_teachers(summary, results["config"]["teachers"], together)
    elif results["task"] == "recognition":
        chart = recognition.accuracy_by_layer(summary, recognition.layers_in(summary))
    else:
        raise ValueError(f"{path}: no picture is known for the task {results['task']!r}")
    save(drawing.draw([chart], list(summary)), path)


def section(results: Mapping[str, Any]) -> str:
    """Table and provenance of one results file, as Markdown."""
    if "benchmark" in results:
        tables = TABLES[results["benchmark"]](results)
        return f"{tables}\n{environment_line(results['environment'])}\n"
    return accuracy(results)


def accuracy(results: Mapping[str, Any]) -> str:
    """Methods against their metrics, mean and deviation over seeds."""
    summary, preset = results["summary"], results["preset"]
    fraction = results.get("config", {}).get("segment", {}).get("label_fraction")
    columns = columns_of_task(results)
    extra: dict[str, dict[str, str]] = {}
    sentences = ["Mean ± sample standard deviation over n seeds"]
    gained = "; in brackets the difference from `none`" if "none" in summary else ""
    if results["task"] == "crossmodal":
        sentences[0] += f", percent{gained}"
        if preset.startswith("nyu") and fraction in (None, 1.0):
            extra["paper: accuracy"] = {method: f"{pair[0]:.1f}" for method, pair in PUBLISHED.items()}
            extra["paper: mean IoU"] = {method: f"{pair[1]:.1f}" for method, pair in PUBLISHED.items()}
    elif results["task"] == "compression":
        sentences[0] += f", accuracies in percent{gained}"
        teacher, student = architectures(results["config"]), results["config"]["student"]
        sentences.append(f"Teacher {teacher} ({teacher_figures(results['teacher'])}), student {student}")
    elif results["task"] == "recognition":
        sentences[0] += f", percent{gained}"
        config = results["config"]
        if "views" in config:  # of earlier releases
            sees = config["views"].split(":")[:: -1 if config["reverse"] else 1]
        else:
            sees = [listed(config["teacher"]["modality"]), config["student_modality"]]
        of = f"{architectures(config)} of {sees[0]}"
        if results.get("teacher"):
            of += f" ({teacher_figures(results['teacher'])})"
        sentences.append(f"Teacher {of}, student {config['student']} of {sees[1]}")
    elif results["task"] == "ensemble":
        config, pool = results["config"], results["teacher"]
        sentences[0] += f", error in percent{gained}"
        sentences.append(f"Teachers {architectures(config)}, student {config['student']}")
        sentences.append(ensemble.pool_figures(pool).rstrip("."))
    seeds = sorted({run["seed"] for run in results["runs"]})
    sentences.append(f"Preset `{preset}`, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}")
    if fraction is not None:
        sentences.append(f"Labels of the segmentation stage: {100 * fraction:.3g}%")
    sentences.append(environment_line(results["environment"]))
    table = summary_view(summary, columns, baseline="none", extra=extra).markdown()
    return f"{table}\n{'. '.join(sentences)}\n"


def alignment(results: Mapping[str, Any]) -> str:
    """How well the students agree with the teacher on held-out pairs, before and after the transfer."""
    return summary_view(alignment_summary(results["runs"]), ALIGNMENT_COLUMNS).markdown()


def followed(results: Mapping[str, Any]) -> str:
    """How the students of an ensemble follow their teachers."""
    return ensemble.followed(results["summary"], results["config"]["teachers"], results["teacher"])


SUFFIXES = {"-alignment": alignment, "-followed": followed}


def source(name: str) -> tuple[str, Callable[[Mapping[str, Any]], str]]:
    """Of a marked table the file's name, and what makes it of the file."""
    for suffix, made in SUFFIXES.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), made
    return name, section


def architectures(config: Mapping[str, Any]) -> str:
    """Of the teachers, in words; earlier files name one, or the pool's `members`."""
    found = config.get("teacher", config.get("members"))["architecture"]
    return found if isinstance(found, str) else listed(found)


def main() -> int:
    """Fill or check every page; the exit code."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for path in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))):
        page = path.read_text(encoding="utf-8")
        filled = fill(page, RESULTS)
        for match in PICTURED.finditer(page):
            picture, figures = DOCS / match["file"], RESULTS / f"{match['name']}.json"
            if check or (filled == page and picture.is_file()) or not figures.is_file():
                continue
            draw(picture, json.loads(figures.read_text(encoding="utf-8")))
            print(f"drew {match['file']}")
        if filled == page:
            continue
        if check:
            stale += 1
            print(f"{path.name} differs from benchmarks/results; run: make results", file=sys.stderr)
        else:
            path.write_text(filled, encoding="utf-8")
            print(f"filled {path.name}")
    return min(stale, 1)


if __name__ == "__main__":
    sys.exit(main())
