"""The rooms import in one direction only."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = (
    "common",
    "contrast",
    "models",
    "distillers",
    "data",
    "recordings",
    "engine",
    "evaluation",
    "deploy",
    "transfer",
    "pipelines",
)
PIPELINES = ("crossmodal", "compression", "ensemble")
MAY_IMPORT = {
    "common": (),
    "contrast": ("common",),
    "models": ("common",),
    "distillers": ("common", "contrast", "models"),
    "data": ("common",),
    "recordings": ("common", "data"),
    "engine": ("common", "models", "data"),
    "evaluation": ("common", "models", "data", "engine"),
    "deploy": ("common", "models", "data"),
    "transfer": ("common", "models", "distillers", "data", "engine", "evaluation", "deploy"),
    "pipelines": CORE,
    **dict.fromkeys(PIPELINES, (*CORE, "pipelines")),
    "reports": ("common", "data", "models", "evaluation", "pipelines"),
    "experiments": (*CORE, "pipelines", *PIPELINES, "reports"),
}
# Packages that one room hides from the others; torch, numpy and the rest are for all but the core.
ONLY_IN = {
    "accelerate": {"engine", "experiments"},
    "h5py": {"data", "recordings"},
    "cv2": {"data", "recordings", "reports"},
    "kornia": {"data"},
    "torchvision": {"data", "models"},
    "timm": {"models"},
    "matplotlib": {"reports"},
}
SHARED = {("data", "io"): {"recordings"}}
"""Folders of a room that others may enter: reading files is one subject in two rooms."""
BARE = {"contrast": {"torch", "triton"}, "common": set()}
"""Rooms that know nothing beside the standard library and these; Triton comes with torch for GPUs."""
SCRIPT_FOLDERS = ("experiments", "benchmarks", "docs")


def imported_modules(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """Absolute dotted names of the modules that a file of ``package`` imports, wherever it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from .. import data` names a room in its aliases.
            yield from ([module] if node.module else [f"{module}.{alias.name}" for alias in node.names])


def sources(room: str) -> list[Path]:
    return sorted(path for path in (ROOT / room).rglob("*.py*") if path.suffix in (".py", ".pyi"))


@pytest.mark.parametrize("room", [room for room in MAY_IMPORT if (ROOT / room).is_dir()])
def test_room_imports_only_what_it_may(room: str) -> None:
    wrong = []
    for path in sources(room):
        package = ("crdkit", *path.relative_to(ROOT).parent.parts)
        for module in imported_modules(path.read_text(encoding="utf-8"), package):
            first, *rest = module.split(".")
            if first == "crdkit":
                allowed = bool(rest) and rest[0] in {room, *MAY_IMPORT[room]}
            elif room in BARE:
                allowed = first in {"lazy_loader", *BARE[room], *sys.stdlib_module_names}
            else:
                allowed = room in ONLY_IN.get(first, {room})
            if not allowed:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert sources(room), f"{room}/ has no Python file"
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", [room for room in MAY_IMPORT if (ROOT / room).is_dir()])
def test_rooms_are_entered_by_their_face(room: str) -> None:
    wrong = []
    for path in sources(room):
        package = ("crdkit", *path.relative_to(ROOT).parent.parts)
        for module in imported_modules(path.read_text(encoding="utf-8"), package):
            _, *rest = module.split(".")
            entered = module.startswith("crdkit.") and rest[0] != room and is_file(rest[:2])
            if entered and room not in SHARED.get(tuple(rest[:2]), ()):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong, "\n".join(wrong)


def is_file(parts: list[str]) -> bool:
    """Whether a dotted name within the package is a file, or a folder, inside a room."""
    place = ROOT.joinpath(*parts)
    return len(parts) > 1 and (place.with_suffix(".py").is_file() or place.is_dir())


@pytest.mark.parametrize("room", [*MAY_IMPORT, "benchmarks", "docs"])
def test_files_are_a_page_or_three(room: str) -> None:
    long = {str(p): n for p in sources(room) if (n := len(p.read_text(encoding="utf-8").splitlines())) > 300}
    assert not long


def test_files_of_a_room_import_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for room in MAY_IMPORT:
        for path in sources(room):
            if path.stem == "__init__":
                continue
            package = ("crdkit", *path.relative_to(ROOT).parent.parts)
            own = ".".join([*package, path.stem])
            graph[own] = set(imported_modules(path.read_text(encoding="utf-8"), package))
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in graph.get(name, ()):
                if other in graph:
                    visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_import_reader_resolves_every_form() -> None:
    source = "import a.b, c\nfrom d.e import f\nfrom . import g\nfrom .. import h\nfrom ..i.j import k\n"
    found = set(imported_modules(source, ("crdkit", "room")))
    assert found == {"a.b", "c", "d.e", "crdkit.room.g", "crdkit.h", "crdkit.i.j"}


def test_scripts_import_nothing_relatively() -> None:
    """A launched script is no part of a package."""
    for path in (ROOT / "experiments").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body):
            relative = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level]
            assert not relative, f"{path.name}: {ast.unparse(relative[0])}"


@pytest.mark.parametrize("folder", SCRIPT_FOLDERS)
def test_scripts_shadow_no_module(folder: str) -> None:
    # A launched script's folder comes first on sys.path, so its neighbors are top-level modules.
    # `compression` is in the standard library from Python 3.14 on.
    taken = {*sys.stdlib_module_names, *ONLY_IN, "torch", "numpy", "compression"}
    if folder == "experiments":
        taken.add("data")  # half of the world's research code has a module of this name
    names = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert not names & taken
