"""report.html in a browser: nothing on the console, the table sorts, the slider changes the picture."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from reported import html_of, write_run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")

# Runs after the page's own script, and leaves what it saw in the title.
PROBE = """
<script>
{
const seen = {};
const rows = () => [...document.querySelectorAll(".results tbody th")].map(th => th.dataset.value);
const heading = n => document.querySelectorAll(".results thead button")[n];
heading(1).click(); seen.falling = rows();
heading(1).click(); seen.rising = rows();
heading(0).click(); seen.named = rows();
const images = () => [...document.querySelectorAll(".stack img")].slice(0, 2).map(i => getComputedStyle(i));
const top = () => images().map(style => style.clipPath);
seen.half = top();
const stack = document.querySelector(".stack");
stack.scrollIntoView({behavior: "instant"});
const box = stack.getBoundingClientRect();
const at = x => document.elementFromPoint(box.left + x * box.width, box.top + box.height / 2).dataset.method;
seen.visible = [at(0.1), at(0.9)];
const range = document.querySelector("input[type=range]");
range.value = 20; range.dispatchEvent(new Event("input")); seen.moved = top();
const left = document.querySelector("[data-side=left]");
left.value = "kd"; left.dispatchEvent(new Event("change"));
seen.shown = images().map(style => style.visibility);
seen.label = document.querySelector(".left").textContent;
seen.folded = getComputedStyle(document.querySelector("td.folded")).display;
document.getElementById("folded").click();
seen.unfolded = getComputedStyle(document.querySelector("td.folded")).display;
const ground = () => getComputedStyle(document.body).backgroundColor;
const before = ground(); document.getElementById("theme").click(); seen.themed = before !== ground();
const panes = document.querySelector("[data-panes]");
panes.value = "none"; panes.dispatchEvent(new Event("change"));
seen.pane = document.querySelector(".pane:not([hidden])").dataset.name;
seen.wide = document.documentElement.scrollWidth - innerWidth;
seen.loaded = [...document.images].every(image => image.complete && image.naturalWidth > 0);
document.title = JSON.stringify(seen);
}
</script></body>
"""


def browser() -> str | None:
    """A Chromium on PATH, or the one that playwright has fetched."""
    found = [path for name in NAMES if (path := shutil.which(name))]
    cache = Path.home() / ".cache" / "ms-playwright"
    found += [str(path) for path in sorted(cache.glob("chromium*/*/*")) if path.name in NAMES]
    return found[0] if found else None


@pytest.mark.parametrize("width", [1280, 500])  # a headless window is not narrower than 500
def test_a_browser_sorts_slides_and_has_nothing_to_complain_of(tmp_path: Path, width: int) -> None:
    chromium = browser()
    if chromium is None:
        pytest.skip("no Chromium on PATH; test_report_html.py reads the page without one")
    run = write_run(tmp_path)
    page = run / "probed.html"
    page.write_text(html_of(run).replace("</body>", PROBE), encoding="utf-8")
    done = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--dump-dom",
            "--enable-logging=stderr",
            "--v=0",
            f"--window-size={width},900",
            f"--user-data-dir={run / 'profile'}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None
    seen = json.loads(unescape(title[1]))
    odd = "<b>odd</b>"
    assert seen["falling"] == ["kd", "none", odd] or seen["falling"] == ["kd", odd, "none"]
    assert seen["rising"] == seen["falling"][::-1]
    names = seen["named"]
    assert sorted(names) == sorted(seen["rising"]) and names.index("kd") < names.index("none")
    assert seen["half"] == ["inset(0px 50% 0px 0px)", "none"] and seen["visible"] == ["none", "kd"]
    assert seen["moved"] == ["inset(0px 80% 0px 0px)", "none"]
    assert seen["shown"] == ["hidden", "visible"] and seen["label"] == "kd"
    assert (seen["folded"], seen["unfolded"], seen["pane"]) == ("none", "table-cell", "none")
    assert seen["themed"] and seen["loaded"] and seen["wide"] <= 0
