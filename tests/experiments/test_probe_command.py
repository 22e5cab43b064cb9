"""`experiments/probe.py` as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch

from crdkit.data import Normalize, PackedImages, Statistics
from crdkit.evaluation import extract, knn_accuracy, probe_logistic
from crdkit.models import Normalized, create, save_weights

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "probe.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that overlap in brightness, and networks as trainings leave them."""
    folder = tmp_path_factory.mktemp("probe")
    rng = np.random.default_rng(0)
    with h5py.File(folder / "two.h5", "w") as file:
        file.attrs["classes"] = ["dark", "bright"]
        for split, count in (("train", 40), ("test", 21)):
            labels = np.arange(count) % 2
            images = rng.normal(110 + 12 * labels[:, None, None, None], 60, (count, 32, 32, 3))
            images += rng.normal(0, 12, (count, 1, 1, 1))
            stored = file.create_dataset(f"{split}/images", (count,), h5py.vlen_dtype(np.uint8))
            for i, image in enumerate(images):
                kind = (".jpg", ".png")[i // 2 % 2]
                stored[i] = cv2.imencode(kind, image.clip(0, 255).astype(np.uint8))[1].ravel()
            file[f"{split}/labels"] = labels
        file["unlabeled/images"] = file["test/images"]
    trained = Statistics(mean={"rgb": (0.2, 0.3, 0.4)}, std={"rgb": (0.5, 0.6, 0.7)})
    torch.manual_seed(0)
    network = create("resnet18", num_classes=7)
    save_weights(network.network, folder / "bare" / "model.safetensors")
    save_weights(network.network, folder / "teacher" / "model.safetensors")
    whole = Normalized(Normalize(trained, "rgb"), network)
    save_weights(whole, folder / "teacher" / "training" / "model.safetensors")
    save_weights(
        Normalized(Normalize(trained, "rgb"), create("resnet18", num_classes=None)),
        folder / "encoder.safetensors",
    )
    return folder


def run(*arguments: str, folder: Path, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *launcher, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


BASIC = ("--cpu", "--network", "resnet18", "--data.root", "two.h5", "--data.size", "24")


def expected(place: Path, statistics: Statistics) -> tuple[float, float]:
    network = create("resnet18", num_classes=None, weights=place / "bare" / "model.safetensors")
    splits = [PackedImages(place / "two.h5", split, size=(24, 24)) for split in ("train", "test")]
    whole = Normalized(Normalize(statistics, "rgb"), network).to(memory_format=torch.channels_last)
    train, test = (extract(whole, images, modality="rgb") for images in splits)
    return probe_logistic(train, test).top1, knn_accuracy(train, test)


def test_every_kind_of_weights_is_a_row_of_the_table(place: Path) -> None:
    whole = place / "teacher" / "training" / "model.safetensors"
    weights = ("bare", "teacher", f"whole={whole}", "enc=encoder.safetensors")
    done = run(*BASIC, "--weights", *weights, "random", "random", "--tsne", "--output", "out", folder=place)
    assert done.returncode == 0, done.stderr
    found = json.loads((place / "out" / "results.json").read_text())
    assert (found["task"], found["preset"]) == ("probe", "two")
    names = [("bare", 0), ("teacher", 0), ("whole", 0), ("enc", 0), ("random", 0), ("random", 1)]
    assert [(one["method"], one["seed"]) for one in found["runs"]] == names
    assert found["summary"]["random"]["top1"]["n"] == 2
    metrics: list[dict[str, Any]] = [one["metrics"] for one in found["runs"]]
    sources = [one["probe"]["statistics"] for one in metrics]
    assert sources[:2] == ["measured on this training split", "in training/ beside the weights"]
    assert sources[2:4] == ["in the weights", "in the weights"]
    assert metrics[1]["top1"] == metrics[2]["top1"] and metrics[1]["knn"] == metrics[2]["knn"]
    details = metrics[0]["probe"]
    assert (details["n_train"], details["n_test"], details["dimension"]) == (40, 21, 512)
    assert details["chosen"] in details["candidates"]
    train = PackedImages(place / "two.h5", "train", size=(24, 24))
    assert (metrics[0]["top1"], metrics[0]["knn"]) == expected(place, Statistics.measure(train))
    trained = Statistics(mean={"rgb": (0.2, 0.3, 0.4)}, std={"rgb": (0.5, 0.6, 0.7)})
    trained.save(place / "trained.json")
    assert (metrics[1]["top1"], metrics[1]["knn"]) == pytest.approx(expected(place, trained))

    report = (place / "out" / "report.md").read_text()
    assert "| teacher | 0 | resnet18 | 512 |" in report and "in training/ beside the weights |" in report
    for picture in ("methods", "embeddings"):
        assert f"(pictures/{picture}.png)" in report
        assert (place / "out" / "pictures" / f"{picture}.png").stat().st_size > 1000
    assert str(place) not in (place / "out" / "results.json").read_text() + report
    assert "linear probe" in done.stdout and "20-NN" in done.stdout
    assert "neighbors: 20" in (place / "out" / "config.yaml").read_text()

    again = run(*BASIC, "--weights", "bare", "--output", "out", folder=place)
    assert again.returncode == 1 and "out exists; name another --output" in again.stderr


def test_published_weights_are_judged_with_their_own_normalization(place: Path) -> None:
    from crdkit.experiments.probe import ProbeRun, load_network
    from crdkit.reports import ProbeRow as Row

    published = place / "library" / "resnet18-f37072fd.pth"
    published.parent.mkdir()
    torch.save(create("resnet18", num_classes=7).state_dict(), published)
    config = ProbeRun(("resnet18",), (str(published),), place / "out")
    network, source = load_network(Row("row", 0, "resnet18", str(published)), config, lambda: pytest.fail())
    assert isinstance(network, Normalized) and isinstance(network.normalize, Normalize)
    assert network.normalize.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert "torchvision" in source


def test_two_processes_share_the_rows_and_sgd_probes_a_layer(place: Path) -> None:
    layer = ("--layer", "1", "--grid", "2", "--probe", "sgd", "--neighbors", "3", "--precision", "bf16")
    rest = ("--weights", "a=bare", "b=bare", "random", "--statistics", "trained.json", "--output", "shared")
    Statistics(mean={"rgb": (0.2, 0.3, 0.4)}, std={"rgb": (0.5, 0.6, 0.7)}).save(place / "trained.json")
    done = run(*BASIC, *layer, *rest, folder=place, ranks=2)
    assert done.returncode == 0, done.stderr
    found = json.loads((place / "shared" / "results.json").read_text())["runs"]
    assert [one["method"] for one in found] == ["a", "b", "random"]
    assert found[0]["metrics"] == found[1]["metrics"] != found[2]["metrics"]
    details = found[0]["metrics"]["probe"]
    assert details["dimension"] == 64 * 4 and details["statistics"] == "given, trained.json"
    assert "map 1 averaged to 2×2" in (place / "shared" / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("--weights", "absent.safetensors"), "absent.safetensors"),
        (("--weights", "bare", "./bare"), "'bare': write NAME=bare/model"),
        (("--weights", "bare=teacher", "bare"), "'bare': write NAME="),
        (("--weights", "bare", "--network", "resnet18", "vgg11"), "2 networks for 1 weights"),
        (("--weights", "bare", "--grid", "2"), "--layer"),
        (("--weights", "bare", "--network", "resnet34"), "ResNet"),
    ],
)
def test_bad_use_is_answered_without_a_stack_trace(
    arguments: tuple[str, ...], value: str, place: Path
) -> None:
    done = run(*BASIC, "--output", "new", *arguments, folder=place)
    assert done.returncode != 0
    assert value in done.stderr and "Traceback" not in done.stderr
    assert not (place / "new").exists() or not list((place / "new").iterdir())


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(SCRIPT)!r}, '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: sys.exit(stop.code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--data.size" in done.stdout and "--weights" in done.stdout
