"""The wheel, as it is uploaded: what it holds, that it runs without the checkout, that its types hold."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import crdkit

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "site", "*.h5")

COUNTS = '"train": 80, "unlabeled": 240, "test": 40'
FEW = '"train": 16, "unlabeled": 8, "test": 16'
SMALL = ["--epochs", "1", "--cpu"]
"""More of the commands that train."""

USER = """
from collections.abc import Callable
from pathlib import Path
from typing import assert_type

import torch
from torch import Tensor, nn, optim

from crdkit import CRDLoss, Outputs, compression, crossmodal, data, engine, ensemble, models, transfer
from crdkit.contrast import ContrastConfig, CriticHeads, InstanceContrast
from crdkit.distillers import METHODS, FeatureSpec, SelectOutputs, StatelessLoss, Term, functional

crd = CRDLoss(student_dim=64, teacher_dim=256, num_samples=100)
loss: Tensor = crd(torch.randn(4, 64), torch.randn(4, 256), torch.arange(4))
assert_type(crd.diagnostics(), dict[str, float])
heads = CriticHeads(64, 256, embed_dim=16)
contrast = InstanceContrast(100, ContrastConfig(16, negatives="batch"))
assert_type(models.create("resnet8", num_classes=10), nn.Module)
outputs = Outputs(torch.zeros(1, 3), (torch.zeros(1, 4, 2, 2),), torch.zeros(1, 4))
assert_type(outputs.embedding, Tensor)


def make_distance(spec: FeatureSpec, *, weight: float = 1.0) -> Term:
    return Term(SelectOutputs("embedding"), StatelessLoss(nn.functional.mse_loss), weight=weight)


METHODS["distance"] = make_distance
accelerator = engine.make_accelerator(cpu=True)
config = compression.CompressionConfig(
    method=("kd", "crd+kd"),
    data=data.ImagesConfig("digits"),
    transfer=transfer.TransferConfig(train=engine.TrainConfig(epochs=1)),
)
splits = data.load_splits(config.data, accelerator.device)
assert_type(splits, data.ImageSplits)
pipeline = compression.CompressionPipeline(config, splits, accelerator, "runs/a", optimizer=optim.AdamW)
for done in pipeline.runs():
    accuracy: float = done.metrics["top1"]
pooled = ensemble.EnsemblePipeline(
    ensemble.EnsembleConfig(data=config.data), splits, accelerator, Path("runs/b")
)
pairs = data.PairedTensors(rgb=torch.zeros(8, 3, 8, 8), depth=torch.zeros(8, 1, 8, 8))
samples = crossmodal.Samples(pairs, pairs.subset(range(2)), 4, ("a", "b", "c", "d"))
segmentation = crossmodal.SegmentationPipeline(
    crossmodal.SegmentationConfig(), samples, accelerator, "runs/c", student=models.DepthCNN(1)
)
assert_type(functional.kd(torch.zeros(2, 3), torch.zeros(2, 3), temperature=4.0), Tensor)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "checkout", ignore=LEFT_OUT)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), "."]
    done = subprocess.run(build, cwd=folder / "checkout", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path) -> dict[str, str]:
    """The environment in which the wheel's crdkit is the one that is found."""
    target = wheel.parent / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return os.environ | {"PYTHONPATH": str(target), "MYPYPATH": str(target)}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert {name.split("/")[0] for name in names} == {"crdkit", f"crdkit-{crdkit.__version__}.dist-info"}
    inside = {name.split("/")[1] for name in names if name.startswith("crdkit/") and name.count("/") > 1}
    assert inside == rooms and not inside & {"tests", "benchmarks", "docs", "examples"}
    sources = [path for room in (*rooms, ".") for path in _sources(ROOT / room, deep=room != ".")]
    assert {f"crdkit/{path.relative_to(ROOT)}" for path in sources} <= set(names)
    assert "crdkit/py.typed" in names and "crdkit/__main__.py" in names
    assert zipfile.ZipFile(wheel).getinfo("crdkit/py.typed")


def _sources(folder: Path, *, deep: bool) -> list[Path]:
    """Every file of the package that is no left-over of running it."""
    kept = (".c", ".py", ".pyi", ".html", ".jinja", ".css", ".js", ".md", ".typed")
    found = folder.rglob("*") if deep else folder.glob("*.py*")
    return [path for path in found if path.suffix in kept]


def test_the_wheel_runs_from_an_empty_folder(installed: dict[str, str], tmp_path: Path) -> None:
    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    script = str(Path(installed["PYTHONPATH"], "bin", "crdkit"))
    found = run(sys.executable, "-c", "import crdkit; print(crdkit.__file__)")
    assert Path(found.strip()).is_relative_to(installed["PYTHONPATH"])
    assert run(sys.executable, "-m", "crdkit", "--version") == f"crdkit {crdkit.__version__}\n"
    assert "--data.root" in run(script, "crossmodal", "--help")
    few = ["--data.train-samples", "8", "--data.unlabeled-samples", "8", "--data.test-samples", "4"]
    run(script, "crossmodal", "--cpu", "--method", "crd-dense", "--epochs", "1", *few, "--output", "run")
    assert (tmp_path / "run/report.md").is_file() and (tmp_path / "run/results.json").is_file()


def test_the_page_from_pairs_to_an_onnx_file(installed: dict[str, str], tmp_path: Path) -> None:
    """docs/getting-started.md, line by line: from a folder of pairs to an ONNX file that runs without
    crdkit."""
    page = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")
    assert COUNTS in page
    script = str(Path(installed["PYTHONPATH"], "bin", "crdkit"))

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=installed, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    said = {}
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", page.replace(COUNTS, FEW), re.DOTALL):
        if language == "python":
            guard = "import sys; sys.modules['torch'] = sys.modules['crdkit'] = None\n"  # neither is there
            said[block] = run(sys.executable, "-c", guard + block if "onnxruntime" in block else block)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "crdkit":
                said[line] = run(script, *arguments, *(SMALL if "crossmodal" in arguments else []))
    assert len(list((tmp_path / "predicted" / "labels").glob("*.png"))) == 16
    assert (tmp_path / "runs/mine/report.html").is_file()
    *_, loaded, graph = (text for block, text in said.items() if "import" in block)
    assert loaded.strip() == "torch.Size([1, 48, 64])"
    assert "'logits': (1, 12, 48, 64)" in graph


def test_types_of_the_public_names_are_whole(installed: dict[str, str], tmp_path: Path) -> None:
    """`mypy --strict` on a script that uses them, and on the package as it is installed."""
    (tmp_path / "user.py").write_text(USER)
    command = [sys.executable, "-m", "mypy", "--strict", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
