"""The examples of the documentation, run as a reader would copy them."""

import re
from pathlib import Path

import pytest

from crdkit.distillers import METHODS

DOCS = Path(__file__).resolve().parent.parent / "docs"


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_examples_of_ones_own_run(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = examples("your-own.md")[number]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    monkeypatch.chdir(tmp_path)
    built_in = set(METHODS)
    try:
        exec(compile(code, f"docs/your-own.md, example {number}", "exec"), {})
    finally:
        added = {name: METHODS.pop(name) for name in set(METHODS) - built_in}
    lines = capsys.readouterr().out.splitlines()
    methods = {0: ["kd", "crd+kd"], 1: ["none", "crd-dense"], 2: []}[number]
    found = [line.split() for line in lines if len(line.split()) == 2 and line.split()[0] in methods]
    assert [name for name, _ in found] == methods
    assert list(added) == (["alignment"] if number == 2 else [])


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", text))
    assert len(named) >= 7
    for name in named:
        assert (DOCS.parent / name).is_file(), name
    for path, member in re.findall(r"`(\w+/\w+\.py)` `(\w+)(?:\.\w+)?`", text):
        assert member in (DOCS.parent / path).read_text(encoding="utf-8")


def test_every_test_that_the_reliability_page_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (DOCS / "reliability.md").read_text())
    assert len(named) > 40
    for file, test in named:
        assert f"def {test}(" in (DOCS.parent / "tests" / file).read_text(), f"{file}::{test}"
