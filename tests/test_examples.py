"""The notebooks of examples/, each run from top to bottom in small numbers."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SMALL: dict[str, dict[str, int]] = {
    "own_loop": {"SAMPLES": 96, "TEACHER_EPOCHS": 2, "EPOCHS": 2, "SEEDS": 2},
    "rgb_to_thermal": {
        "RECORDINGS": 5,
        "FRAMES": 6,
        "TEACHER_ROOMS": 32,
        "TEACHER_EPOCHS": 1,
        "EPOCHS": 1,
    },
    "ensemble": {
        "TEACHERS": 2,
        "TEACHER_EPOCHS": 1,
        "SAMPLES": 96,
        "EPOCHS": 1,
        "SEEDS": 1,
        "SIZE": 8,
    },
    "deploy_and_predict": {
        "SAMPLES": 32,
        "UNLABELED": 8,
        "TEST_SAMPLES": 8,
        "TEACHER_EPOCHS": 1,
        "EPOCHS": 1,
        "SEGMENT_EPOCHS": 1,
    },
}
"""Of each notebook's cell `parameters`, all of its numbers."""


def read(name: str) -> Any:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def with_parameters(notebook: Any, values: Mapping[str, int]) -> Any:
    """The notebook with other numbers in its cell of parameters: all of them, and no others."""
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    found = re.findall(r"^(\w+) = \d+", cell.source, re.MULTILINE)
    assert sorted(found) == sorted(values)
    cell.source = "\n".join(f"{key} = {value}" for key, value in values.items())
    return notebook


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """What a notebook printed, and how many pictures it shows."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel's own shows pictures
    notebook = with_parameters(read(name), SMALL[name])
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(o["text"] for o in outputs if o["output_type"] == "stream" and o["name"] == "stdout")
    return printed, sum("image/png" in output.get("data", {}) for output in outputs)


def numbers(pattern: str, text: str) -> list[float]:
    """Every number that a pattern's one group finds; at least one."""
    found = [float(value) for value in re.findall(pattern, text)]
    assert found, text
    return found


def test_every_notebook_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == SMALL.keys()
    assert set(re.findall(r"\((\w+)\.ipynb\)", (EXAMPLES / "README.md").read_text("utf-8"))) == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
def test_notebooks_are_kept_without_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        assert set(cell.metadata) <= {"tags"}
    text = json.dumps(notebook, ensure_ascii=False)
    assert not re.search(r"/(home|Users|tmp|work|root|mnt|opt|usr)/|[A-Z]:\\|~/", text)


@pytest.mark.parametrize("name", SMALL)
def test_pages_that_a_notebook_names_are_there(name: str) -> None:
    text = "".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    named = re.findall(r"`(docs/[\w-]+\.md)`", text)
    assert named
    for page in named:
        assert (EXAMPLES.parent / page).is_file(), page


def test_the_loss_in_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed, pictures = run("own_loop", tmp_path, monkeypatch)
    accuracies = numbers(r"test accuracy (\d\.\d+)", printed)
    assert len(accuracies) == 4 and all(0 <= value <= 1 for value in accuracies)
    assert accuracies[0] > 0.3  # the teacher: ten classes, two epochs
    (critic,) = numbers(r"'critic_accuracy': (\d\.\d+)", printed)
    assert 0.5 < critic <= 1
    assert pictures == 1


def test_rgb_to_thermal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed, pictures = run("rgb_to_thermal", tmp_path, monkeypatch)
    assert len(list(tmp_path.glob("thermal-*/pairs/thermal/*/*.png"))) == 30
    assert "thermal: color over its type's maximum (guessed" in printed
    assert "thermal: scale, times 0.01 (as given)" in printed
    assert "24 pairs to train with, 6 held out" in printed
    for figure in ("R@1", "R@1 back", "R@10", "R@10 back"):  # before, after crd, after crd-dense
        (row,) = re.findall(rf"^{figure} +(\d\.\d+) +(\d\.\d+) +(\d\.\d+)$", printed, re.MULTILINE)
        assert all(0 <= float(value) <= 1 for value in row)
    (rank,) = numbers(r"effective rank +\d+\.\d+ +\d+\.\d+ +(\d+\.\d+)", printed)
    assert 1 < rank < 6  # of 6 held-out pairs
    assert len(list(tmp_path.glob("thermal-*/run/runs/*/seed-0/student.safetensors"))) == 2
    assert pictures == 1


def test_ensemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed, pictures = run("ensemble", tmp_path, monkeypatch)
    members = numbers(r"(?m)^(?:resnet14-\d|ensemble) +(\d\.\d+) ", printed)
    assert len(members) == 3 and members[0] != members[1]
    rows = re.findall(r"^(none|[\w+-]+, \d) +(\d\.\d+)  ", printed, re.MULTILINE)
    assert [name for name, _ in rows] == ["none", "kd-mean, 1", "crd+kd, 1", "kd-mean, 2", "crd+kd, 2"]
    assert len({value for _, value in rows}) > 1
    assert len(list(tmp_path.glob("ensemble-*/students/**/student.safetensors"))) == 5
    assert pictures == 1


def test_deploy_and_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed, pictures = run("deploy_and_predict", tmp_path, monkeypatch)
    assert "segmentation of depth at (48, 64) pixels" in printed
    (right,) = numbers(r"pixels that are right: (\d\.\d+)", printed)
    assert right > 0
    (largest,) = numbers(r"largest difference of the logits: (\S+)", printed)
    assert largest < 1e-3
    (depth,) = numbers(r"to (\d+\.\d+) meters", printed)
    assert 1 < depth < 20
    (folder,) = tmp_path.glob("runs/*")
    assert (folder / "model.onnx").stat().st_size > 10_000
    assert (folder / "report.html").stat().st_size > 1000
    assert pictures == 1
