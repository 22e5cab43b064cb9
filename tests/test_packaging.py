"""The distribution: what is packaged, what the README promises, and what no file may hold."""

import ast
import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import crdkit

ROOT = Path(__file__).resolve().parent.parent
RUN = "python -m pip install -e . && accelerate launch experiments/crossmodal.py"
TEST = "python -m pip install -e '.[test]' && pytest"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages(setup: configparser.ConfigParser) -> set[str]:
    return set(setup["options"]["packages"].split())


def rooms_of(stub: Path) -> set[str]:
    """The sub-packages that a stub names."""
    nodes = [node for node in ast.walk(ast.parse(stub.read_text())) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in nodes if node.module is None for alias in node.names}


def tracked_files() -> list[Path]:
    """Every file that is, or would be, committed."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_every_room_is_packaged(setup: configparser.ConfigParser) -> None:
    rooms = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/__init__.py")}
    rooms = {room for room in rooms if not room.parts[0].startswith((".", "build"))}
    assert packages(setup) == {"crdkit"} | {".".join(["crdkit", *room.parts]) for room in rooms}


def test_mypy_and_the_lazy_names_know_every_room(setup: configparser.ConfigParser, pyproject: dict) -> None:
    # mypy goes down into a room's folders by itself, and refuses to be told of them twice.
    rooms = {room for room in packages(setup) if room.count(".") == 1}
    assert set(pyproject["tool"]["mypy"]["packages"]) == rooms
    assert {f"crdkit.{room}" for room in rooms_of(ROOT / "__init__.pyi")} == rooms


def test_version_is_the_same_everywhere() -> None:
    assert version("crdkit") == crdkit.__version__
    assert f"\nversion: {crdkit.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{crdkit.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_lazy_name_is_packaged_and_loads(setup: configparser.ConfigParser) -> None:
    stubs = {path.parent for path in ROOT.glob("**/__init__.pyi") if path.parent.name[0] != "."}
    assert setup["options.package_data"]["*"] == "py.typed, __init__.pyi"
    names = {".".join(["crdkit", *stub.relative_to(ROOT).parts]) for stub in stubs}
    assert {"crdkit", "crdkit.common", "crdkit.distillers", "crdkit.transfer"} <= names
    for name in names:
        module = importlib.import_module(name)
        assert module.__all__ == sorted(set(module.__all__))
        for public in module.__all__:
            assert getattr(module, public) is not None
            assert public in dir(module)
        with pytest.raises(AttributeError, match="no_such_name"):
            module.no_such_name  # noqa: B018


@pytest.mark.parametrize("script", ["compress.py", "crossmodal.py", "teacher.py"])
def test_help_does_not_wait_for_torch(script: str) -> None:
    code = (
        "import runpy, sys\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: sys.exit(stop.code or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", f"import sys; sys.argv = ['experiments/{script}', '--help']\n{code}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--output" in result.stdout


def test_import_is_cheap_and_works_from_any_folder(tmp_path: Path) -> None:
    code = "import sys, crdkit; print('torch' in sys.modules, crdkit.__version__)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", crdkit.__version__]


def test_readme_opens_with_the_two_commands() -> None:
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [block.strip() for block in blocks[:2]] == [RUN, TEST]


def test_ci_runs_the_readme_and_the_linters() -> None:
    path = ROOT / ".ci" / "run"
    steps = [line.removesuffix(" </dev/null") for line in path.read_text().splitlines()]
    assert os.access(path, os.X_OK)
    position = [steps.index(step) for step in [*TEST.split(" && "), "make lint", "make docs"]]
    assert position == sorted(position)


def test_readme_loop_trains_student_and_heads() -> None:
    import torch
    from torch import Tensor, nn

    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.classifier = nn.Linear(8, 64), nn.Linear(64, 3)

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            features = self.body(images)
            return features, self.classifier(features)

    student = Student()
    before = student.body.weight.detach().clone()
    names = {"student": student, "teacher": nn.Linear(8, 256)}
    names["dataset"] = torch.utils.data.TensorDataset(torch.randn(10, 8), torch.arange(10) % 3)
    block, _ = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(block, "README.md", "exec"), names)
    assert torch.isfinite(names["loss"])
    assert not torch.equal(student.body.weight, before)
    assert all(parameter.grad is not None for parameter in names["crd"].parameters())


def test_readme_loads_a_network_as_the_first_steps_do() -> None:
    """tests/experiments/test_getting_started.py runs them."""
    _, block = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block in (ROOT / "docs" / "getting-started.md").read_text()


def test_commands_of_the_readme_are_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from crdkit.experiments import cli, command

    started: list[str] = []
    whole = command.main

    def checked(name: str, run: object, *given: Any, **more: Any) -> None:
        whole(name, lambda config, preset: started.append(f"{name} {preset}"), *given, **more)

    monkeypatch.setattr(command, "main", checked)
    monkeypatch.chdir(tmp_path)
    Path("DIR").mkdir()
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.split("  #")[0] for block in blocks for line in block.splitlines()]
    for line in lines:
        if line.startswith("crdkit "):
            with pytest.raises(SystemExit) as stop:
                cli.main(line.split()[1:])
            assert stop.value.code == 0, line
    assert started == [
        "crossmodal synthetic",
        "crossmodal pairs",
        "crossmodal lab",
        "compress digits",
        "compress r32x4-r8x4",
        "teacher digits",
        "ensemble digits",
        "ensemble digits",
        "ensemble cifar100-wrn",
    ]


def test_distiller_of_the_guide_is_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from crdkit.distillers import METHODS, BatchMeta, FeatureSpec, build_terms, parse_method
    from crdkit.models import Dimensions, Outputs

    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    monkeypatch.setitem(METHODS, "alignment", names["make_alignment"])
    size = Dimensions(maps=((4, 2, 2),), embedding=4, logits=(3,))
    spec = FeatureSpec(size, size, 10)
    term = build_terms(parse_method("2*alignment", {"alignment": {"weight": 3.0}}), [spec])["alignment"]
    assert term.weight == 6.0
    student, teacher = (
        Outputs(torch.randn(5, 3), (torch.randn(5, 4, 2, 2),), torch.randn(5, 4, requires_grad=True))
        for _ in range(2)
    )
    loss = term.loss(term.projector(student, (teacher,)), BatchMeta(torch.arange(5), None))
    loss.backward()
    assert student.embedding.grad is not None and student.embedding.grad.abs().sum() > 0
    same = term.loss(term.projector(student, (student,)), BatchMeta(torch.arange(5), None))
    torch.testing.assert_close(same, torch.zeros(()), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="got 4 and 5"):
        build_terms(parse_method("alignment"), [FeatureSpec(size, size._replace(embedding=5), 10)])


def test_own_members_of_the_guide_teach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "ensemble.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "ensemble.md", "exec"), {})
    described, accuracy = capsys.readouterr().out.strip().splitlines()[-2:]
    assert "calibration_error" in described and 0 <= float(accuracy) <= 1
    assert (tmp_path / "runs/own/runs/crd+kd/teachers-3/draw-0/seed-0/student.safetensors").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_resolve(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    missing = [t for t in targets if not t.startswith(("http", "mailto:")) and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_pages_compiles(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        compile(block, page.name, "exec")


def test_no_file_names_a_place_on_one_machine() -> None:
    place = re.compile(r"(?<![\w.~])/(?:work|home|root|opt|Users)/|\.\./shared|[A-Z]:\\\\Users")
    allowed = {ROOT / ".ci" / "run"}
    wrong = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [
            f"{path.relative_to(ROOT)}: {found.group()}"
            for found in place.finditer(text)
            if path not in allowed
        ]
    assert not wrong, "\n".join(wrong)
