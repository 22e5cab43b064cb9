"""The averaged student of a transfer: digits, kept beside the last weights, loaded, taken home."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_pipelines import ONE, compression, crossmodal, digits

from crdkit.data import ImageSplits
from crdkit.deploy import load
from crdkit.engine import TrainConfig
from crdkit.models import classifier_of
from crdkit.transfer import TransferConfig

__all__ = ["digits"]

TWO = replace(ONE, epochs=3, lr=0.05)
AVERAGED = TransferConfig(train=TWO, ema=0.5)


@pytest.mark.parametrize("keep", ["best", "all", "none"])
def test_both_students_are_kept_and_a_finished_run_loads_both(
    keep: str, digits: ImageSplits, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"method": ("kd",), "transfer": AVERAGED, "keep": keep}
    first = compression(digits, tmp_path, **changes).run("kd", 0)
    folder = tmp_path / "runs/kd/seed-0"
    batch = digits.test.__getitems__(range(len(digits.test)))
    for name, metric in (("student", "top1"), ("student-ema", "ema_top1")):
        network, _ = load(folder / f"{name}.safetensors")
        with torch.no_grad():
            right = network.eval()(batch["rgb"]).logits.argmax(1) == batch["label"]
        assert float(right.double().mean()) == pytest.approx(first.metrics[metric])
    last, averaged = (load(folder / f"{name}.safetensors")[0] for name in ("student", "student-ema"))
    assert any(
        not torch.equal(a, b)
        for a, b in zip(last.state_dict().values(), averaged.state_dict().values(), strict=True)
    )
    listed = json.loads((folder / "transfer/manifest.json").read_text())["files"]
    assert ("model-ema.safetensors" in listed) == (folder / "transfer/model-ema.safetensors").exists()
    assert (folder / "transfer/model-ema.safetensors").exists() == (keep == "all")
    stamp = (folder / "transfer/history.json").stat().st_mtime_ns
    again = compression(digits, tmp_path, **changes).run("kd", 0)
    assert (folder / "transfer/history.json").stat().st_mtime_ns == stamp
    assert again.metrics == first.metrics
    if keep != "all":
        (folder / "student-ema.safetensors").unlink()
        compression(digits, tmp_path, **changes).run("kd", 0)
        assert (folder / "transfer/history.json").stat().st_mtime_ns != stamp, "trained again"
        assert (folder / "student-ema.safetensors").exists()


def test_the_averaged_figures_are_named_beside_the_last(digits: ImageSplits, tmp_path: Path) -> None:
    done = compression(digits, tmp_path, method=("kd",), transfer=AVERAGED).run("kd", 0)
    assert all({"top1", "ema_top1"} <= set(row) for row in done.history)
    assert done.metrics["best_ema_top1"] == max(row["ema_top1"] for row in done.history)
    without = compression(digits, tmp_path / "no", method=("kd",), transfer=TransferConfig(train=TWO))
    plain = without.run("kd", 0)
    assert not any(name.startswith("ema_") for name in plain.metrics)
    assert plain.metrics["top1"] == done.metrics["top1"], "the last weights are those without an average"
    assert not (tmp_path / "no/runs/kd/seed-0/student-ema.safetensors").exists()


def test_simkd_is_averaged_with_its_projector(digits: ImageSplits, tmp_path: Path) -> None:
    one = compression(digits, tmp_path, method=("simkd",), transfer=AVERAGED)
    done = one.run("simkd", 0)
    folder = tmp_path / "runs/simkd/seed-0"
    last, averaged = (load(folder / f"{name}.safetensors")[0] for name in ("deployed", "deployed-ema"))
    networks = (one.teachers[0].network, averaged)
    theirs, ours = (classifier_of(network, one.data.shape("rgb")) for network in networks)
    assert theirs is not None and ours is not None and torch.equal(ours.weight, theirs.weight)
    pairs = {
        name: (value, averaged.state_dict()[name])
        for name, value in last.state_dict().items()
        if "projector" in name and "weight" in name
    }
    assert pairs and all(not torch.equal(a, b) for a, b in pairs.values())
    batch = digits.test.__getitems__(range(len(digits.test)))
    with torch.no_grad():
        right = averaged.eval()(batch["rgb"]).logits.argmax(1) == batch["label"]
    assert float(right.double().mean()) == pytest.approx(done.metrics["ema_top1"])


def test_critics_tell_nothing_of_an_average_and_alignment_does(tmp_path: Path) -> None:
    transfer = TransferConfig(train=TrainConfig(epochs=2, batch_size=8, lr=0.01), ema=0.5)
    one = crossmodal(tmp_path, method=("crd-dense",), transfer=transfer)
    history = one.transfer("crd-dense", 0).history
    names = set(history[-1])
    assert {"crd-dense/critic_accuracy"} <= names
    assert not any(name.startswith("ema_crd") for name in names)
    aligned = {name for name in names if name.startswith("alignment/")}
    assert {f"ema_{name}" for name in aligned} <= names
    assert (tmp_path / "runs/crd-dense/seed-0/student-ema.safetensors").exists()
