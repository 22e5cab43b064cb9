"""`benchmarks/ablations.py`: a run for each point, one setting changed, and its table and picture."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from crdkit.reports.results import write_results

ROOT = Path(__file__).resolve().parents[1]


def _load(name: str, folder: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{folder}_{name}", ROOT / folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ablations(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield _load("ablations", "benchmarks")


def test_one_setting_at_a_time_is_changed(ablations: ModuleType) -> None:
    axes = ablations.AXES
    published = set(ablations.settings_of(axes["momentum"], axes["momentum"].published))
    assert published == {
        "crd.objective=nce",
        "crd.negatives=other_class",
        "crd.num_negatives=16384",
        "crd.temperature=0.07",
        "crd.momentum=0.5",
    }
    for name, value in (("num_negatives", 16), ("temperature", 0.3), ("momentum", 0.9)):
        assert set(ablations.settings_of(axes[name], value)) - published == {f"crd.{name}={value}"}
    assert not any("num_negatives" in each for each in ablations.settings_of(axes["negatives"], "batch"))
    assert "crd.negatives=uniform" in ablations.settings_of(axes["objective"], "relational")


def test_every_point_is_a_run_that_is_gone_on_with(
    ablations: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []

    def run(arguments: list[str]) -> None:
        called.append(arguments)
        folder = Path(arguments[arguments.index("--output") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        methods = arguments[arguments.index("--method") + 1 : arguments.index("--setting")]
        value = 0.5 if "crd.momentum=0.9" in arguments else 0.4
        rows = [
            {"method": m, "seed": s, "metrics": {"top1": value + s / 10, "best_top1": 0.9, "top5": 1.0}}
            for m in methods
            for s in (0, 1)
        ]
        config = {
            "data": {"source": "packed", "classes": 20, "root": "/somewhere"},
            "student": "resnet8",
            "seed": [0, 1],
            "precision": "no",
            "teacher": {"architecture": ["wrn_16_2"]},
            "transfer": {"train": {"epochs": 15}},
        }
        around = {"environment": {}}
        write_results(
            folder, task="compression", preset="p", runs=rows, environment=around, config=config, teacher={}
        )

    monkeypatch.setattr(ablations.compress, "main", run)
    (tmp_path / "runs" / "momentum-0.99").mkdir(parents=True)  # begun before
    words = ["ablations.py", "--folder", str(tmp_path / "runs"), "--output", str(tmp_path / "a.json")]
    words += ["--only", "momentum", "--", "tiny32-small", "--data.classes", "20"]
    monkeypatch.setattr(sys, "argv", words)
    ablations.main()
    ablations.main()  # all are there
    assert len(called) == 4 and all(each[:3] == ["tiny32-small", "--data.classes", "20"] for each in called)
    assert ["--resume" in each for each in called] == [False, False, False, True]
    assert ["--reuse" in each for each in called] == [False, True, True, True]
    made = json.loads((tmp_path / "a.json").read_text())
    assert [point["value"] for point in made["points"]] == [0.0, 0.5, 0.9, 0.99]
    assert "/somewhere" not in json.dumps(made)

    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    shown = _load("ablated", "docs")
    table = shown.table(made)
    assert "| momentum of the memory | 0.9 | 55.00 ± 7.07 | 90.00 ± 0.00 | +10.00 ± 0.00 * | 2 |" in table
    assert "| momentum of the memory | 0.5 (published) | 45.00 ± 7.07 | 90.00 ± 0.00 | – | 2 |" in table
    assert "20 classes, 15 epochs" in table and "| the student alone | – | 45.00 ± 7.07 |" in table
    shown.curves(tmp_path / "a.png", made)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
