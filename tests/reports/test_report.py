"""Results, tables, pictures and documentation made from runs."""

import importlib.util
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from rich.console import Console

from crdkit.data import DataError
from crdkit.experiments import provenance
from crdkit.reports import pictures
from crdkit.reports.canvas import IGNORE_COLOR, colorize
from crdkit.reports.page import Page, Picture, Table
from crdkit.reports.report import write_report
from crdkit.reports.results import read_results, write_results
from crdkit.reports.segmentation import COLUMNS
from crdkit.reports.tables import Column, Run, summarize
from crdkit.reports.views import Cell, summary_view, terminal_table
from crdkit.reports.words import environment_line

ROOT = Path(provenance.ROOT)
ENVIRONMENT = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789abcdef",
    "dirty": True,
    "python": "3.11.7",
    "platform": "Linux x86_64",
    "packages": {"crdkit": "0.1.0", "torch": "2.10.0"},
    "hardware": {"cpu": "A processor", "cores": 2, "threads": 2, "memory_gib": 8.0, "gpus": []},
}


def run(method: str, seed: int, accuracy: float, **metrics: object) -> Run:
    return {"method": method, "seed": seed, "metrics": {"pixel_accuracy": accuracy, **metrics}}


RUNS = [
    run("none", 0, 0.50, mean_iou=0.20, iou=[0.1, math.nan]),
    run("crd", 0, 0.60, mean_iou=0.25, iou=[0.2, 0.3]),
    run("none", 1, 0.54, mean_iou=0.22, iou=[0.1, 0.2]),
    run("crd", 1, 0.61, mean_iou=0.24, iou=[0.2, 0.3]),
    run("none", 2, 0.52, mean_iou=0.21, iou=[0.1, 0.2]),
]


def test_summary_is_numpys_mean_and_sample_deviation() -> None:
    summary = summarize(RUNS)
    assert list(summary) == ["none", "crd"]
    assert set(summary["none"]) == {"pixel_accuracy", "mean_iou"}  # lists are left out
    series = [0.50, 0.54, 0.52]
    assert summary["none"]["pixel_accuracy"]["n"] == 3
    assert summary["none"]["pixel_accuracy"]["mean"] == pytest.approx(np.mean(series), rel=1e-12)
    assert summary["none"]["pixel_accuracy"]["std"] == pytest.approx(np.std(series, ddof=1), rel=1e-12)


def test_one_run_has_no_deviation() -> None:
    assert summarize([run("crd", 0, 0.5)])["crd"]["pixel_accuracy"] == {"mean": 0.5, "std": None, "n": 1}


def test_summary_refuses_what_would_mislead() -> None:
    with pytest.raises(ValueError, match=r"'crd'.* 0$"):
        summarize([run("crd", 0, 0.5), run("crd", 0, 0.6)])
    with pytest.raises(ValueError, match=r"pixel_accuracy.*'crd'.*3"):
        summarize([run("crd", 3, math.nan)])


def test_results_have_the_promised_shape(tmp_path: Path) -> None:
    @dataclass
    class Config:
        root: Path = Path("/elsewhere/pairs.h5")
        weights: str = "../teacher.safetensors"
        preset: str = "nyu"
        seeds: tuple[int, ...] = (0, 1)

    path = write_results(
        tmp_path / "run", task="crossmodal", preset="nyu", runs=RUNS, environment=ENVIRONMENT, config=Config()
    )
    text = path.read_text()
    results = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert path == tmp_path / "run" / "results.json"
    assert set(results) == {"task", "preset", "runs", "summary", "environment", "config"}
    assert (results["task"], results["preset"]) == ("crossmodal", "nyu")
    assert results["environment"] == ENVIRONMENT
    assert results["summary"] == summarize(RUNS)
    assert results["runs"][0]["metrics"]["iou"] == [0.1, None]
    assert results["config"] == {
        "root": "pairs.h5",
        "weights": "teacher.safetensors",
        "preset": "nyu",
        "seeds": [0, 1],
    }


def test_results_take_arrays_and_tensors(tmp_path: Path) -> None:
    runs = [
        run("crd", 0, 0.5, iou=torch.tensor([0.5, math.nan])),
        run("crd", 1, 0.5, iou=np.array([0.5, 0.25])),
    ]
    path = write_results(tmp_path, task="t", preset="p", runs=runs, environment=ENVIRONMENT)
    results = json.loads(path.read_text())
    assert [one["metrics"]["iou"] for one in results["runs"]] == [[0.5, None], [0.5, 0.25]]
    assert "config" not in results


def test_a_flipped_digit_is_no_figure_of_a_report(tmp_path: Path) -> None:
    path = write_results(tmp_path, task="t", preset="p", runs=RUNS, environment=ENVIRONMENT)
    before = path.read_text()
    assert read_results(tmp_path)["task"] == "t" and "0.5" in before
    path.write_text(before.replace("0.5", "0.6", 1))
    with pytest.raises(DataError, match=r"results\.json is damaged.*--resume"):
        read_results(tmp_path)
    (tmp_path / "manifest.json").unlink()  # copied alone, or of an earlier release
    assert read_results(tmp_path)["task"] == "t"


def test_failed_write_keeps_the_previous_results(tmp_path: Path) -> None:
    path = write_results(tmp_path, task="t", preset="p", runs=RUNS, environment=ENVIRONMENT)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_results(tmp_path, task="t", preset="p", runs=RUNS, environment={"odd": object()})
    assert path.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["manifest.json", "results.json"]


def test_markdown_table_shows_deviation_gain_and_the_best() -> None:
    columns = [Column("pixel_accuracy", "accuracy"), Column("absent", "absent")]
    view = summary_view(summarize(RUNS), columns, baseline="none", extra={"paper": {"crd": "61.6"}})
    assert view.rows[1][1] == Cell("60.5", pytest.approx(0.605), "0.7", "+8.5", "good", True)
    assert view.markdown().splitlines() == [
        "| method | accuracy | paper | n |",
        "|---|---:|---:|---:|",
        "| none | 52.0 ± 2.0 | – | 3 |",
        "| crd | **60.5 ± 0.7 (+8.5)** | 61.6 | 2 |",
    ]


def test_a_method_without_the_metric_has_a_dash() -> None:
    summary = summarize([run("none", 0, 0.5), run("crd", 0, 0.6, mean_iou=0.3)])
    rows = summary_view(summary, COLUMNS).markdown().splitlines()
    assert rows[2:] == ["| none | 50.0 | – | 1 |", "| crd | **60.0** | 30.0 | 1 |"]


def test_terminal_table_has_the_same_cells() -> None:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(summarize(RUNS), COLUMNS, baseline="none", title="A title"))
    text = console.export_text()
    for cell in ("A title", "52.0 ± 2.0", "60.5 ± 0.7 (+8.5)", "24.5 ± 0.7 (+3.5)"):
        assert cell in text


def test_terminal_table_of_many_metrics_loses_no_digit_in_80_characters() -> None:
    columns = [Column(f"probe_{n}", f"layer {n}") for n in range(1, 9)]
    metrics = {column.metric: 0.123 for column in columns}
    runs = [run(method, 0, 0.5, **metrics) for method in ("none", "crd-dense+kd")]
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(summarize(runs), columns, baseline="none"))
    text = console.export_text()
    assert "crd-dense+kd" in text and "…" not in text and text.count("12.3") == 2 * len(columns)


def panel_row(methods: tuple[str, ...]) -> pictures.PanelRow:
    label = torch.arange(12).reshape(3, 4)
    label[0, 0] = 255
    return pictures.PanelRow(
        inputs={"rgb": np.zeros((3, 4, 3), np.uint8), "thermal": np.zeros((6, 8, 3), np.uint8)},
        label=label,
        predictions={method: torch.randint(13, (3, 4)) for method in methods},
    )


def test_report_shows_table_pictures_configuration_and_environment(tmp_path: Path) -> None:
    runs = [run(f"method-{i}", seed, 0.5 + 0.1 * i) for i in range(3) for seed in range(2)]
    config = {"transfer": {"temperature": 0.1}}
    write_results(tmp_path, task="t", preset="p", runs=runs, environment=ENVIRONMENT, config=config)
    names = [f"class {i}" for i in range(13)]
    rows = [panel_row(("method-0", "method-1"))] * 2
    pictures.segmentation_panel(tmp_path / "pictures" / "panel.png", rows, class_names=names)
    parts = [
        Picture("Predictions", "panel.png"),
        Table("Cost", ["network", "ms"], [["a", 1.25], ["b", None]]),
    ]
    page = Page(
        "RGB to depth", COLUMNS, baseline="method-0", notes="A note.", parts=parts, command="crdkit x"
    )
    assert write_report(tmp_path, page) == tmp_path / "report.html"
    text = (tmp_path / "report.md").read_text()
    for part in (
        "# RGB to depth\n",
        "A note.",
        "| method-2 | **70.0 ± 0.0 (+20.0)** | 2 |",
        "temperature: 0.1",
        "| network | ms |\n|---|---:|\n| a | 1.2 |\n| b | – |\n",
        "```sh\ncrdkit x\n```",
    ):
        assert part in text
    assert environment_line(ENVIRONMENT) in text
    for name in ("methods", "panel"):
        assert f"(pictures/{name}.png)" in text
        assert (tmp_path / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_panel_refuses_rows_of_different_methods(tmp_path: Path) -> None:
    rows = [panel_row(("none", "crd")), panel_row(("none",))]
    with pytest.raises(ValueError, match=r"1.*\['none'\].*\['none', 'crd'\]"):
        pictures.segmentation_panel(tmp_path / "panel.png", rows)


@pytest.mark.parametrize("num_classes", [13, 40])
def test_colors_differ_and_ignored_pixels_are_gray(num_classes: int) -> None:
    image = colorize(torch.tensor([[*range(num_classes), 255]]))
    assert image.shape == (1, num_classes + 1, 3)
    assert len({tuple(color) for color in image[0].tolist()}) == num_classes + 1
    assert tuple(image[0, -1]) == IGNORE_COLOR


def test_environment_names_versions_and_hardware() -> None:
    environment = provenance.environment()
    assert json.loads(json.dumps(environment)) == environment
    assert torch.__version__.startswith(environment["packages"]["torch"].partition("+")[0])
    assert environment["hardware"]["cores"] >= 1 and environment["hardware"]["cpu"]


def test_commit_of_a_surrounding_repository_is_not_ours(tmp_path: Path) -> None:
    assert provenance.revision(tmp_path) == (None, None)
    assert provenance.revision(ROOT / "experiments") == (None, None)


def test_environment_line_tells_of_local_changes_and_gpus() -> None:
    line = environment_line(ENVIRONMENT)
    assert "2 cores of A processor" in line and "commit 0123456789 with local changes; 2026-01-02." in line
    hardware = {**ENVIRONMENT["hardware"], "gpus": ["A GPU"]}
    clean = environment_line({**ENVIRONMENT, "hardware": hardware, "dirty": False, "commit": None})
    assert clean.startswith("A GPU; ") and "no commit known; " in clean


@pytest.fixture(scope="module")
def docs() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / "docs"))  # as `python docs/build.py` has it
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(ROOT / "docs"))


def test_documentation_is_filled_between_its_markers(docs: ModuleType, tmp_path: Path) -> None:
    config = {"segment": {"label_fraction": 1.0}}
    write_results(
        tmp_path, task="crossmodal", preset="nyu-small", runs=RUNS, environment=ENVIRONMENT, config=config
    )
    (tmp_path / "results.json").rename(tmp_path / "nyu-small.json")
    page = "Before.\n<!-- begin results nyu-small -->\nold\n<!-- end results nyu-small -->\nAfter.\n"
    filled = docs.fill(page, tmp_path)
    assert filled.startswith("Before.\n<!-- begin") and filled.endswith("-->\nAfter.\n")
    assert "| none | 52.0 ± 2.0 | 21.0 ± 1.0 | 56.4 | 35.8 | 3 |" in filled
    assert "seeds 0, 1, 2. Labels of the segmentation stage: 100%. 2 cores" in filled and "old" not in filled
    assert docs.fill(filled, tmp_path) == filled


def test_documentation_shows_how_much_a_method_is_above_the_others(docs: ModuleType, tmp_path: Path) -> None:
    runs = [run("none", s, 0.5, mean_iou=0.2 + s / 10) for s in (0, 1)]
    runs += [run("kd", s, 0.5, mean_iou=0.3 + s / 5) for s in (0, 1)]
    path = write_results(tmp_path, task="crossmodal", preset="p", runs=runs, environment=ENVIRONMENT)
    path.rename(tmp_path / "pairs.json")
    filled = docs.fill("<!-- begin results pairs less kd -->\n<!-- end results pairs -->\n", tmp_path)
    assert "|  | pixel accuracy | mean IoU | seeds |" in filled
    assert "| `kd` less `none` | +0.0 ± 0.0 | +15.0 ± 5.0 | 2 |" in filled
    assert docs.fill(filled, tmp_path) == filled
    with pytest.raises(KeyError, match="at"):
        docs.fill("<!-- begin results pairs less at -->\n<!-- end results pairs -->\n", tmp_path)


def test_documentation_shows_how_much_methods_are_above_one_of_another_file(
    docs: ModuleType, tmp_path: Path
) -> None:
    for name, gained in (("plain", 0.0), ("later", 0.1)):
        runs = [run("none", s, 0.5, mean_iou=0.2) for s in (0, 1)]
        runs += [run("kd", s, 0.5, mean_iou=0.3 + gained * (1 + s)) for s in (0, 1, 2)]
        write_results(tmp_path, task="crossmodal", preset="p", runs=runs, environment=ENVIRONMENT).rename(
            tmp_path / f"{name}.json"
        )
    marked = "<!-- begin results later less kd from plain -->\n<!-- end results later -->\n"
    filled = docs.fill(marked, tmp_path)
    assert "| `none` less `kd` | +0.0 ± 0.0 | -10.0 ± 0.0 * | 2 |" in filled
    assert "| `kd` less `kd` | +0.0 ± 0.0 | +20.0 ± 5.8 | 3 |" in filled
    assert docs.fill(filled, tmp_path) == filled
    same = docs.fill(marked.replace("less kd", "less itself"), tmp_path)
    assert (
        "| `kd` | +0.0 ± 0.0 | +20.0 ± 5.8 | 3 |" in same
        and "| `none` | +0.0 ± 0.0 | +0.0 ± 0.0 | 2 |" in same
    )
    with pytest.raises(KeyError, match="at"):
        docs.fill(marked.replace("less kd", "less at"), tmp_path)


def test_documentation_joins_the_seeds_of_two_files_of_one_teacher(docs: ModuleType, tmp_path: Path) -> None:
    def written(name: str, seeds: tuple[int, ...], methods: dict[str, float], teacher: float | str) -> None:
        runs = [run(method, s, 0.5, mean_iou=iou + s / 10) for method, iou in methods.items() for s in seeds]
        write_results(
            tmp_path,
            task="crossmodal",
            preset="p",
            runs=runs,
            environment=ENVIRONMENT,
            **(
                {"config": {"teacher": {"weights": teacher}}}
                if isinstance(teacher, str)
                else {"teacher": {"mean_iou": teacher}}
            ),
        ).rename(tmp_path / f"{name}.json")

    written("plain", (0, 1), {"none": 0.2, "kd": 0.3, "at": 0.4}, 0.5)
    written("seeds", (2,), {"none": 0.2, "kd": 0.6}, 0.5)
    marked = "<!-- begin results plain and seeds {} -->\n<!-- end results plain -->\n"
    filled = docs.fill(marked.format("of none kd"), tmp_path)
    assert "| none | **50.0 ± 0.0** | 30.0 ± 10.0 | 3 |" in filled  # 20, 30, 40
    assert docs.fill(filled, tmp_path) == filled
    filled = docs.fill(marked.format("less kd"), tmp_path)
    assert "| `kd` less `none` | +0.0 ± 0.0 | +20.0 ± 10.0 | 3 |" in filled and "`at`" not in filled
    written("other", (2,), {"none": 0.2, "kd": 0.6}, 0.4)
    with pytest.raises(ValueError, match="two teachers"):
        docs.fill(marked.format("less kd").replace("seeds", "other"), tmp_path)
    written("seeds", (1,), {"none": 0.2, "kd": 0.6}, 0.5)
    with pytest.raises(ValueError, match="two runs with seed 1"):
        docs.fill(marked.format("less kd"), tmp_path)
    for weights, name in (("a", "plain"), ("a", "seeds"), ("b", "other")):  # of a file, without figures
        written(name, (0,) if name == "plain" else (2,), {"none": 0.2, "kd": 0.6}, weights)
    assert "| 2 |" in docs.fill(marked.format("less kd"), tmp_path)
    with pytest.raises(ValueError, match="two teachers"):
        docs.fill(marked.format("less kd").replace("seeds", "other"), tmp_path)


def test_documentation_shows_the_alignment_beside_the_accuracy(docs: ModuleType, tmp_path: Path) -> None:
    def aligned(seed: int, before: float, after: float) -> Run:
        figures = {"alignment/r1": after, "alignment_before/r1": before}
        return run("crd", seed, 0.5, mean_iou=0.2, **figures)

    runs = [aligned(0, 0.02, 0.3), aligned(1, 0.04, 0.5), run("none", 0, 0.4, mean_iou=0.1)]
    path = write_results(tmp_path, task="crossmodal", preset="p", runs=runs, environment=ENVIRONMENT)
    path.rename(tmp_path / "pairs.json")
    page = "<!-- begin results pairs-alignment -->\n<!-- end results pairs-alignment -->\n"
    filled = docs.fill(page, tmp_path)
    assert "| before | 3.0 ± 1.4 | 2 |" in filled and "| crd | **40.0 ± 14.1** | 2 |" in filled
    assert "none" not in filled and "mean IoU" not in filled


def test_documentation_leaves_the_published_figures_out_where_labels_are_fewer(
    docs: ModuleType, tmp_path: Path
) -> None:
    config = {"segment": {"label_fraction": 0.1}}
    path = write_results(
        tmp_path, task="crossmodal", preset="nyu-small", runs=RUNS, environment=ENVIRONMENT, config=config
    )
    section = docs.section(json.loads(path.read_text()))
    assert "Labels of the segmentation stage: 10%. 2 cores" in section and "paper" not in section


def test_documentation_shows_every_metric_of_another_task(docs: ModuleType, tmp_path: Path) -> None:
    runs = [run("resnet18", 0, 0.5, top_1=81.25)]
    path = write_results(tmp_path, task="teacher", preset="p", runs=runs, environment=ENVIRONMENT)
    section = docs.section(json.loads(path.read_text()))
    assert "| method | pixel accuracy | top 1 | n |" in section
    assert "| resnet18 | 0.500 | 81.250 | 1 |" in section and "seed 0. " in section


def test_documentation_shows_the_seconds_of_whole_defaults(docs: ModuleType) -> None:
    case = {"case": "compress", "before": {"cpu": 145.4, "wall": 80.0}, "after": {"cpu": 115.4, "wall": 62.6}}
    made = {
        "benchmark": "defaults",
        "environment": ENVIRONMENT,
        "cases": [case],
        "n": 1,
        "commits": {"before": "a" * 40, "after": "b" * 40},
    }
    section = docs.section(made)
    assert "| command | before, s | after, s | before, CPU s | after, CPU s |" in section
    assert "| compress | 80 | 63 | 145 | 115 |" in section
    assert "Of one call in turns; commits: before aaaaaaaaaa, after bbbbbbbbbb." in section


def test_documentation_markers_must_be_whole(docs: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'gone'"):
        docs.fill("<!-- begin results gone -->\n<!-- end results gone -->", tmp_path)
    with pytest.raises(ValueError, match="begin results half"):
        docs.fill("<!-- begin results half -->\n", tmp_path)


def test_documentation_agrees_with_the_published_figures(docs: ModuleType) -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in docs.DOCS.glob("*.md")}
    assert {name: docs.fill(page, docs.RESULTS) for name, page in pages.items()} == pages
    tables = {path.stem for path in docs.RESULTS.glob("*.json")}
    marked = [match for page in pages.values() for match in docs.MARKED.finditer(page)]
    shown = {docs.source(match["name"])[0] for match in marked} | {match["more"] for match in marked} - {None}
    assert tables == shown
    pictured = {
        match["name"]: docs.DOCS / match["file"]
        for page in pages.values()
        for match in docs.PICTURED.finditer(page)
    }
    assert pictured.keys() <= tables and all(path.is_file() for path in pictured.values())


def test_documentation_pictures_are_drawn_from_the_figures(docs: ModuleType, tmp_path: Path) -> None:
    ensemble, compression = (
        json.loads((docs.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("ensemble-tiny32-small", "tiny32-small")
    )
    docs.draw(tmp_path / "errors.png", ensemble)
    assert (tmp_path / "errors.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="'compression'"):
        docs.draw(tmp_path / "none.png", compression)
