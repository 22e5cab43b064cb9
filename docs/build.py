"""Fill the tables in the documentation from the figures in benchmarks/results/*.json.

    python docs/build.py            # rewrite the pages
    python docs/build.py --check    # exit 1 where a page differs from the figures

A table stands between `<!-- begin results NAME -->` and `<!-- end results NAME -->`, and is made from
benchmarks/results/NAME.json, a copy of a run's results.json. Nothing between the two is written by hand.
A picture that a page shows as pictures/NAME.png is drawn from the same file, anew where the page has changed.
"""

import json
import re
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crdkit.experiments import report_classification, report_recognition
from crdkit.experiments.charts import error_curves, layer_curves
from crdkit.experiments.report import environment_line, listed, teacher_figures
from crdkit.experiments.report_ensemble import columns_of, pool_figures
from crdkit.experiments.report_segmentation import COLUMNS as SEGMENTATION_COLUMNS
from crdkit.experiments.tables import Column, markdown_table

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"

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
    r"(?P<begin><!-- begin results (?P<name>[\w.-]+) -->\n).*?(?P<end><!-- end results (?P=name) -->)",
    re.DOTALL,
)
MARKER = re.compile(r"<!-- (?:begin|end) results [\w.-]+ -->")
PICTURED = re.compile(r"\]\((?P<file>pictures/(?P<name>[\w.-]+)\.png)\)")


def fill(page: str, results: Path) -> str:
    """The page with every marked table made anew from the JSON files in ``results``.

    Raises:
        ValueError: a marker without its partner.
        FileNotFoundError: a marker whose JSON file is missing.
    """

    def table(match: re.Match[str]) -> str:
        path = results / f"{match['name']}.json"
        if not path.is_file():
            raise FileNotFoundError(f"the page has a table {match['name']!r} but there is no {path}")
        return match["begin"] + section(json.loads(path.read_text(encoding="utf-8"))) + match["end"]

    unpaired = MARKER.findall(MARKED.sub("", page))
    if unpaired:
        raise ValueError(f"marker without its partner: {unpaired[0]}")
    return MARKED.sub(table, page)


def draw(path: Path, results: Mapping[str, Any]) -> None:
    """The curves of one results file.

    Raises:
        ValueError: its task has none.
    """
    summary = results["summary"]
    if results["task"] == "ensemble":
        together = results["teacher"]["ensembles"]
        error_curves(path, summary, results["config"]["teachers"], ensembles=together)
    elif results["task"] == "recognition":
        layer_curves(path, summary, report_recognition.layers_in(summary))
    else:
        raise ValueError(f"{path}: no picture is known for the task {results['task']!r}")


def section(results: Mapping[str, Any]) -> str:
    """Table and provenance of one results file, as Markdown."""
    if "benchmark" in results:
        tables = BENCHMARKS[results["benchmark"]](results)
        return f"{tables}\n{environment_line(results['environment'])}\n"
    return accuracy(results)


def accuracy(results: Mapping[str, Any]) -> str:
    """Methods against their metrics, mean and deviation over seeds."""
    summary, preset = results["summary"], results["preset"]
    fraction = results.get("config", {}).get("segment", {}).get("label_fraction")
    columns: list[Column] = []
    extra: dict[str, dict[str, str]] = {}
    sentences = ["Mean ± sample standard deviation over n seeds"]
    if results["task"] == "crossmodal":
        columns += SEGMENTATION_COLUMNS
        sentences[0] += ", percent; in brackets the difference from `none`"
        if preset.startswith("nyu") and fraction in (None, 1.0):
            extra["paper: accuracy"] = {method: f"{pair[0]:.1f}" for method, pair in PUBLISHED.items()}
            extra["paper: mean IoU"] = {method: f"{pair[1]:.1f}" for method, pair in PUBLISHED.items()}
    elif results["task"] == "compression":
        columns += report_classification.columns(None, summary)
        sentences[0] += ", accuracies in percent; in brackets the difference from `none`"
        teacher, student = architectures(results["config"]), results["config"]["student"]
        sentences.append(f"Teacher {teacher} ({teacher_figures(results['teacher'])}), student {student}")
    elif results["task"] == "recognition":
        columns += report_recognition.columns(None, summary)
        sentences[0] += ", percent; in brackets the difference from `none`"
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
        columns += columns_of(config["teachers"])
        sentences[0] += ", error in percent; in brackets the difference from `none`"
        sentences.append(f"Teachers {architectures(config)}, student {config['student']}")
        sentences.append(pool_figures(pool).rstrip("."))
    else:
        metrics = dict.fromkeys(name for method in summary.values() for name in method)
        columns += [Column(name, name.replace("_", " "), scale=1.0, digits=3) for name in metrics]
    seeds = sorted({run["seed"] for run in results["runs"]})
    sentences.append(f"Preset `{preset}`, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}")
    if fraction is not None:
        sentences.append(f"Labels of the segmentation stage: {fraction:.0%}")
    sentences.append(environment_line(results["environment"]))
    return f"{markdown_table(summary, columns, baseline='none', extra=extra)}\n{'. '.join(sentences)}\n"


def architectures(config: Mapping[str, Any]) -> str:
    """Of the teachers, in words; earlier files name one, or the pool's `members`."""
    found = config.get("teacher", config.get("members"))["architecture"]
    return found if isinstance(found, str) else listed(found)


def grid(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table with numbers to the right of the first column."""
    lines = [f"| {' | '.join(headings)} |", "|---|" + "---:|" * (len(headings) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]) + "\n"


def contrast(results: Mapping[str, Any]) -> str:
    """Time and memory of a contrastive step: the headline setting, then the growth."""
    first, *growth = results["settings"]
    methods = [name for name in first["methods"] if name != "published"]
    headline = grid(
        ["negatives", "ms a step", "times faster", "peak extra MB", "share of the published"],
        [
            (name, f"{row['seconds'] * 1e3:.1f}", f"{row['speedup']:.1f}",
             f"{row['peak_bytes'] / 1e6:.1f}", f"{row['peak_share']:.3f}")
            for name, row in first["methods"].items()
        ],
    )  # fmt: skip
    rows = [
        (
            f"B={s['batch_size']}, M={s['num_samples']:,}, K={s['num_negatives']:,}",
            f"{s['methods']['published']['seconds'] * 1e3:.1f}",
            *(f"{s['methods'][name]['speedup']:.1f}" for name in methods),
        )
        for s in (first, *growth)
    ]
    title = "B={batch_size}, M={num_samples:,}, K={num_negatives:,}, d=128:".format(**first)
    return (
        f"{title}\n\n{headline}\nGrowth, times faster than the published formulation:\n\n"
        f"{grid(['setting', 'published, ms', *methods], rows)}"
    )


def loading(results: Mapping[str, Any]) -> str:
    """Time of a sample from the official file and from the converted one."""
    return grid(
        ["size", "official .mat, ms", "converted, ms", "times faster"],
        [
            (f"{case['size'][0]} × {case['size'][1]}", case["official_ms"], case["packed_ms"], case["ratio"])
            for case in results["cases"]
        ],
    )


def throughput(results: Mapping[str, Any]) -> str:
    """Throughput of a training step with each method."""
    table = grid(
        ["method", "ms a step", "images a second", "share of the distiller"],
        [
            (
                name,
                f"{row['seconds'] * 1e3:.1f}",
                f"{row['images_per_second']:.0f}",
                f"{row['distiller_share']:.1%}",
            )
            for name, row in results["methods"].items()
        ],
    )  # fmt: skip
    title = "{teacher} to {student}, B={batch_size}, M={num_samples:,}:".format(**results)
    return f"{title}\n\n{table}"


def ensemble(results: Mapping[str, Any]) -> str:
    """Members in one call against one after the other, and kept answers against live teachers."""
    calls = grid(
        ["members", "loop, ms", "batched, ms", "times faster", "largest difference of a logit"],
        [
            (row["teachers"], f"{row['loop'] * 1e3:.1f}", f"{row['batched'] * 1e3:.1f}",
             f"{row['speedup']:.2f}", f"{row['largest_difference']:.1e}")
            for row in results["calls"]
        ],
    )  # fmt: skip
    steps = grid(
        ["step", "teachers", "live, ms", "kept, ms", "times faster"],
        [
            (row["step"], row["teachers"], f"{row['live'] * 1e3:.1f}",
             f"{row.get('cached', row.get('kept')) * 1e3:.1f}",
             f"{row['speedup']:.1f}")
            for row in results["steps"]
        ],
    )  # fmt: skip
    title = "Teachers {teacher}, student {student}, B={batch_size}, M={num_samples:,}:".format(**results)
    return f"{title}\n\n{calls}\nA step of the student:\n\n{steps}"


def memory(results: Mapping[str, Any]) -> str:
    """Peak memory of a run over many unlabeled images."""
    return grid(
        ["images", "file, GB", "framework alone, GB", "run, GB", "more, GB"],
        [
            (f"{results['images']:,}", *(f"{results[name] / 1e9:.2f}" for name in
             ("file_bytes", "alone_bytes", "run_bytes", "more_bytes")))
        ],
    )  # fmt: skip


def small_sets(results: Mapping[str, Any]) -> str:
    """Accuracy of the task beside the loss, and the loss's largest gradient, for few samples."""
    table = grid(
        ["loss", "M", "batch norms", "test accuracy", "largest gradient by the features"],
        [
            (row["loss"], f"{row['num_samples']:,}", "yes" if row["batch_norms"] else "no",
             f"{100 * statistics.mean(row['accuracies']):.1f}", f"{max(row['largest_gradients']):.1f}")
            for row in results["rows"]
        ],
    )  # fmt: skip
    title = (
        "Digits, B={batch_size}, {steps} steps of SGD {lr}, weight {weight}, mean of {seeds} seeds, percent:"
    )
    return f"{title.format(**results)}\n\n{table}"


BENCHMARKS = {
    "contrast": contrast,
    "ensemble": ensemble,
    "loading": loading,
    "memory": memory,
    "small_sets": small_sets,
    "throughput": throughput,
}


def main() -> int:
    """Fill or check every page; the exit code."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        filled = fill(page, RESULTS)
        for match in PICTURED.finditer(page):
            picture = DOCS / match["file"]
            if check or (filled == page and picture.is_file()):
                continue
            draw(picture, json.loads((RESULTS / f"{match['name']}.json").read_text(encoding="utf-8")))
            print(f"drew {match['file']}")
        if filled == page:
            continue
        if check:
            stale += 1
            print(f"{path.name} differs from benchmarks/results; run: python docs/build.py", file=sys.stderr)
        else:
            path.write_text(filled, encoding="utf-8")
            print(f"filled {path.name}")
    return min(stale, 1)


if __name__ == "__main__":
    sys.exit(main())
