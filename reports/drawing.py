"""Charts drawn by matplotlib without a display: as a PNG beside report.md, and as SVG within report.html."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .canvas import bare, named_colors, new_figure, palette
from .charts import Chart, Lines, Points, Strip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, RULE = "#646c74", "#e3e4e1"
COLORS = (
    *("#858d95", "#2c6fb4", "#d2691e", "#24916f", "#9457ad"),
    *("#c33e62", "#a8841a", "#2f97b5", "#6c8527", "#80614e"),
)
THEME = {INK: "--muted", RULE: "--rule", **{color: f"--c{n}" for n, color in enumerate(COLORS)}}
"""Colors in light mode → the variables of report.css, which has others for dark mode."""
SIZES = {Lines: (5.0, 3.2), Strip: (5.0, 0.8), Points: (3.6, 3.6)}
"""Width and height of a chart in inches; of a strip without its rows."""
MAX_NAMED_CLASSES = 40


def draw(charts: Sequence[Chart], order: Sequence[str] = (), *, legend: bool = True) -> Figure:
    """Draw charts of one kind side by side, three in a row.

    Args:
        charts: at least one.
        order: names that have the first colors.
        legend: whether the names and colors stand below the charts.
    """
    first, names = charts[0], in_order(charts, order)
    width, height = SIZES[type(first)]
    if isinstance(first, Strip):
        height += 0.3 * max(len(chart.values) for chart in charts if isinstance(chart, Strip))
    across = min(len(charts), 3)
    down = -(-len(charts) // across)
    figure = new_figure(across * width, down * height + 0.3 * legend)
    figure.patch.set_alpha(float(legend))
    axes = figure.subplots(down, across, squeeze=False).flat
    for axis, chart in zip(axes, charts, strict=False):
        axis.patch.set_alpha(0)
        axis.tick_params(color=RULE, labelcolor=INK, labelsize=9)
        axis.spines[:].set_color(RULE)
        axis.set_title(chart.title, fontsize=10, color=INK)
        match chart:
            case Lines():
                _draw_lines(axis, chart, names)
            case Strip():
                _draw_strip(axis, chart, names)
            case Points():
                _draw_points(axis, chart)
    for axis in list(axes)[len(charts) :]:
        axis.remove()
    if legend and isinstance(first, Points):
        present = sorted({label for chart in charts for *_, label in chart.points})  # type: ignore[union-attr]
        if len(present) <= MAX_NAMED_CLASSES:
            named_colors(figure, present, first.classes, columns=4 * across)
    elif legend and isinstance(first, Lines):
        handles = {str(line.get_label()): line for axis in figure.axes for line in axis.get_lines()}
        figure.legend(
            handles.values(), list(handles), loc="outside lower center", ncols=4 * across, fontsize=8
        )
    return figure


def in_order(charts: Sequence[Chart], order: Sequence[str]) -> list[str]:
    """Return the names whose places decide the colors: `order`, then the other lines of some charts."""
    lines = [line.name for chart in charts if isinstance(chart, Lines) for line in chart.lines]
    return list(dict.fromkeys((*order, *lines)))


def legend_of(charts: Sequence[Chart], order: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and CSS colors of lines or of classes, for the legend of report.html."""
    from matplotlib.colors import to_hex

    if isinstance(charts[0], Points):
        classes = charts[0].classes
        colors = [to_hex(color / 255) for color in palette(len(classes))]
        return list(zip(classes, colors, strict=False)) if len(classes) <= MAX_NAMED_CLASSES else []
    names = in_order(charts, order)
    return [(name, f"var({THEME[_color(name, names)]})") for name in in_order(charts, ())]


def svg(chart: Chart, order: Sequence[str], prefix: str) -> str:
    """Return a chart as an SVG element whose colors follow the page's theme.

    Args:
        chart: drawn without a legend.
        order: as for `draw`, with the names of all charts beside it.
        prefix: of the element's ids, which must differ from all others of the page.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        draw([chart], order, legend=False).savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>|font-family: [^;]+; ", "", text, flags=re.DOTALL
    )
    text = re.sub(r'(\bid="|href="#)', rf"\g<1>{prefix}-", text[text.index("<svg") :])
    text = re.sub(r"#[0-9a-f]{6}\b", lambda m: f"var({THEME[m[0]]})" if m[0] in THEME else m[0], text)
    size = re.search(r'viewBox="[^"]+"', text)
    assert size is not None
    return f'<svg {size[0]} role="img">{text[text.index(">") + 1 :]}'


def _color(name: str, order: Sequence[str]) -> str:
    return COLORS[order.index(name) % len(COLORS)]


def _draw_lines(axis: Any, chart: Lines, order: Sequence[str]) -> None:
    for line in chart.lines:
        color, style = _color(line.name, order), "--" if line.dashed else "-"
        axis.plot(line.x, line.mean, style, color=color, marker=".", label=line.name, clip_on=False)
        if line.low:
            axis.fill_between(line.x, line.low, line.high, color=color, alpha=0.15, lw=0, clip_on=False)
    if all(float(x).is_integer() for line in chart.lines for x in line.x):
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel(chart.across, color=INK)
    axis.grid(color=RULE, clip_on=False)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_strip(axis: Any, chart: Strip, order: Sequence[str]) -> None:
    several = any(len(values) > 1 for values in chart.values.values())
    means = [sum(values) / len(values) for values in chart.values.values()]
    for row, (method, values) in enumerate(chart.values.items()):
        color = _color(method, order) if method in order else COLORS[row % len(COLORS)]
        alpha = 0.45 if several else 1.0
        axis.plot(values, [row] * len(values), "o", color=color, alpha=alpha, clip_on=False)
        if several:
            axis.plot([means[row]], [row], "|", color=color, markersize=14, mew=3, clip_on=False)
        place = {"xy": (1.03, row), "xycoords": ("axes fraction", "data"), "annotation_clip": False}
        axis.annotate(f"{means[row]:.{chart.digits}f}", va="center", color=INK, fontsize=9, **place)
    axis.set_yticks(range(len(means)), list(chart.values))
    axis.tick_params(axis="y", length=0)
    axis.grid(color=RULE, clip_on=False)
    axis.spines[:].set_visible(False)
    axis.set_ylim(len(means) - 0.5, -0.5)


def _draw_points(axis: Any, chart: Points) -> None:
    x, y, label = zip(*chart.points, strict=True)
    colors = palette(max(label) + 1)[list(label)] / 255
    axis.scatter(x, y, s=6, c=colors, clip_on=False)
    axis.set_aspect("equal", adjustable="datalim")
    bare(axis)
