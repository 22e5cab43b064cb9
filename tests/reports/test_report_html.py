"""report.html: one file that needs no other, and what its parts show."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from reported import COLUMNS, RUNS, VALUES, html_of, write_run

from crdkit.reports.as_html import as_html
from crdkit.reports.as_markdown import confusion_cells, most_confused
from crdkit.reports.charts import Line, Lines, over_epochs, strip_of
from crdkit.reports.drawing import COLORS, draw, legend_of, svg
from crdkit.reports.page import (
    Charts,
    Confusion,
    Page,
    Picture,
    Predictions,
    Table,
    Text,
    read_page,
    write_page,
)
from crdkit.reports.results import read_results
from crdkit.reports.tables import Column
from crdkit.reports.words import command_in_words, data_in_words, from_to

VOID = {"meta", "link", "img", "br", "input"}


class Reader(HTMLParser):
    """The page's elements, with a check that each is closed in turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.found if t == tag and all(a.get(k) == v for k, v in attributes.items())]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run."""
    return write_run(tmp_path)


def test_the_page_needs_no_other_file(run: Path) -> None:
    page = Reader(html_of(run))
    sources = [a[name] or "" for _, a in page.found for name in ("src", "href") if name in a]
    assert len(sources) > 20 and all(source.startswith(("data:", "#")) for source in sources)
    html = html_of(run)
    assert (
        "http" not in html.replace("http://www.w3.org", "") and "@import" not in html and "url(" not in html
    )
    ids = [a["id"] for _, a in page.found if "id" in a]
    assert len(set(ids)) == len(ids)
    assert {(a["href"] or "")[1:] for a in page.all("a")} == {a["id"] for a in page.all("section")}


def test_the_table_has_figures_differences_and_what_is_folded(run: Path) -> None:
    html = html_of(run)
    page = Reader(html)
    words = "".join(page.words)
    assert "52.0 ± 2.8" in words and "+11.0" in words and "0.48" in words and "−0.11" in words
    assert "A note of <i>odd</i>." in words and "<em>note</em>" in html
    assert "<b>odd</b>" in words and "<b>odd</b>" not in html  # a method's name is text, not markup
    cells = [a for a in page.all("td") if "data-value" in a]
    assert any(a["data-value"] == "0.52" and "best" in (a.get("class") or "") for a in cells)
    folded = [a for tag in ("th", "td") for a in page.all(tag) if "folded" in (a.get("class") or "")]
    assert len(folded) == 1 + len(VALUES)
    # Within half the deviations a difference is not colored.
    assert html.count('class="difference good"') == 3 and html.count('class="difference "') == 3
    assert "52.0" in html.partition('class="headline"')[2].partition("</div>")[0]


def test_what_a_run_has_not_is_absent(tmp_path: Path) -> None:
    results = {"task": "probe", "runs": RUNS[:1], "summary": {"none": {}}}
    html = as_html(Page("Nothing", COLUMNS), results, tmp_path)
    page = Reader(html)
    assert [a["id"] for a in page.all("section")] == ["results"]
    assert not page.all("img") and not page.all("p", id="figure") and 'class="headline"' not in html


def test_a_page_is_kept_whole(run: Path) -> None:
    results = read_results(run)
    page = read_page(run, results)
    first = as_html(page, results, run)
    write_page(run, page)
    assert as_html(read_page(run, results), results, run) == first
    assert [type(part) for part in page.parts] == [
        Predictions,
        Charts,
        Table,
        Confusion,
        Charts,
        Text,
        Picture,
    ]
    (run / "report.json").write_text(json.dumps({"title": "x", "parts": [{"kind": "text"}], "columns": []}))
    with pytest.raises(ValueError, match=r"report\.json.*--resume"):
        read_page(run, results)
    (run / "report.json").unlink()
    plain = read_page(run, results)
    assert plain.title == "crossmodal: p" and [c.metric for c in plain.columns][:1] == ["mean_iou"]


def test_lines_are_means_with_a_band_from_the_smallest_to_the_largest() -> None:
    histories = {
        "kd": [[{"epoch": 1, "top1": 0.2}, {"epoch": 2, "top1": 0.4}], [{"epoch": 2, "top1": 0.6}]],
        "none": [[{"epoch": 1, "loss": 2.0}]],
    }
    (chart,) = over_epochs(histories, [Column("top1", "top-1"), Column("absent", "absent")])
    (line,) = chart.lines
    assert (line.name, line.x, line.mean) == ("kd", [2], [50.0])
    assert [round(x) for x in (*line.low, *line.high)] == [40, 60]


def test_a_chart_has_the_colors_of_the_theme_and_ids_of_its_own() -> None:
    chart = Lines("top-1", [Line("b", [0, 1], [1.0, 3.0], [0.0, 2.0], [2.0, 4.0])])
    text = svg(chart, ["a", "b"], "here")
    assert "var(--c1)" in text and "var(--c0)" not in text and "var(--muted)" in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert ids and all(one.startswith("here-") for one in ids)
    assert {name[1:] for name in re.findall(r'href="([^"]+)"', text)} <= set(ids)
    assert svg(chart, ["a", "b"], "here") == text
    assert legend_of([chart], ["a", "b"]) == [("b", "var(--c1)")]


def test_a_strip_has_a_dot_for_each_run() -> None:
    strip = strip_of(RUNS, COLUMNS[0])
    assert strip is not None and strip.values["kd"] == [50.0, 54.0] and list(strip.values) == list(VALUES)
    assert strip_of(RUNS, Column("absent", "absent")) is None
    (axis,) = draw([strip], list(VALUES)).axes
    dots, bars = axis.lines[2:4]
    assert list(dots.get_xdata()) == [50.0, 54.0] and list(bars.get_xdata()) == [52.0]
    assert [text.get_text() for text in axis.texts] == ["41.0", "52.0", "40.5"]
    assert dots.get_color() == COLORS[1]


def test_confusion_is_in_percent_of_the_true_class() -> None:
    counts = [[3, 1], [0, 0]]
    assert confusion_cells(counts) == [[75.0, 25.0], [None, None]]
    assert most_confused([[3, 1, 0], [2, 0, 6], [0, 0, 1]], "abc") == [
        ("b", "c", 75.0),
        ("a", "b", 25.0),
        ("b", "a", 25.0),
    ]


def test_titles_say_the_data_and_the_modalities(tmp_path: Path) -> None:
    class Data:
        source, root = "folder", tmp_path / "night drives"

    assert data_in_words(Data(), "synthetic") == "night drives"
    Data.source, Data.root = "packed", tmp_path / "tiny.v2.h5"
    assert data_in_words(Data(), "synthetic") == "tiny.v2"
    Data.source = "nyu"
    assert data_in_words(Data(), "nyu-small") == "NYU-Depth-v2" and data_in_words(None, "preset") == "preset"
    assert from_to(("rgb", "depth"), "thermal") == "RGB and depth to thermal"


def test_the_command_tells_no_place() -> None:
    line = "crdkit crossmodal pairs --data.root /data/me/pairs/ --output /data/me/o --resume "
    line += "--teacher.weights=/x/t.pt"
    assert command_in_words(line) == "crdkit crossmodal pairs --data.root pairs --teacher.weights=t.pt"


def test_pictures_of_a_sample_are_the_panel_s(run: Path) -> None:
    import cv2

    page = read_page(run, read_results(run))
    part = page.parts[0]
    assert isinstance(part, Predictions) and list(part.inputs) == ["thermal", "rgb"]
    truth = cv2.imread(str(run / "pictures" / part.samples[0]["truth"]))
    right = cv2.imread(str(run / "pictures" / part.samples[0]["kd"]))
    assert truth.shape == (4, 6, 3) and np.array_equal(truth, right)
    assert [name for name, _ in part.classes] == ["floor", "wall", "lamp"] and "thermal: " in part.note
