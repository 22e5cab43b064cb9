"""What cannot fit is told from the numbers alone, with the figure and what to lower."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from crdkit.common import OutputError, used_disk
from crdkit.compression import CompressionConfig, CompressionPipeline
from crdkit.data import ImagesConfig, Statistics, load_splits
from crdkit.engine import make_accelerator
from crdkit.pipelines import Sizes, Workspace, check_memory, program
from crdkit.pipelines.preflight.memory import training_bytes
from crdkit.pipelines.preflight.trial import trials
from crdkit.transfer import Builder, TransferConfig, TransferData


def check(samples: int, *settings: str, method: str = "crd", folder: Any = None, **transfer: Any) -> None:
    """Check the memory of a run of so many samples, on a machine of one process."""
    none: Any = None
    channels = Statistics(mean={"rgb": (0.0,) * 3}, std={"rgb": (1.0,) * 3})
    data = TransferData(range(samples), none, "rgb", channels, (32, 32))
    config = CompressionConfig(method=(method,), setting=settings, transfer=TransferConfig(**transfer))
    stages: Any = SimpleNamespace(
        cache=folder, accelerator=SimpleNamespace(device=torch.device("cpu"), num_processes=1)
    )
    unused: Any = None
    workspace = Workspace(Builder(config, data), stages, unused, unused, trial=True)
    check_memory(program(config, Sizes(samples, is_labeled=True)), workspace)


@pytest.mark.parametrize(
    ("samples", "settings", "text"),
    [
        (1, (), "at least two samples"),
        (10**12, (), r"crd's memory banks, 1000000000000 × 128, .*GiB.*free.*crd\.embed_dim"),
        (10**5, ("crd.num_negatives=1000000000",), r"1000000000 negatives .*batch of 64 .*476\.8 GiB"),
        (10**5, ("crd.negatives=shared", "crd.num_negatives=10000000000"), "10000000000 negatives"),
        (10**5, ("crd.negatives=all", "crd.embed_dim=100000000"), "memory banks, 100000 × 100000000"),
    ],
)
def test_memories_and_draws(samples: int, settings: tuple[str, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text) as refused:
        check(samples, *settings)
    assert "\n" not in str(refused.value)


def test_queues() -> None:
    with pytest.raises(ValueError, match=r"crd-dense's queues.*crd-dense\.queue_size"):
        check(100, "crd-dense.queue_size=1000000000000", method="crd-dense")


def test_cached_pixels(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cached-augmentations"):
        check(10**4, folder=tmp_path, cached_augmentations=10**9)
    with pytest.raises(ValueError, match=r"GiB.*free.*cached-augmentations"):
        check(10**4, cached_augmentations=10**9, cache_limit=1e12)


def test_what_fits_is_let_pass(tmp_path: Path) -> None:
    check(10**4, folder=tmp_path, cached_augmentations=2)
    check(1000, method="none")
    check(1000, "crd.num_negatives=5000", method="crd+kd")


def test_the_disk_of_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the run has written already counts as free: it is there on --resume."""
    digits = load_splits(ImagesConfig("digits", classes=3), torch.device("cpu"))
    folder = tmp_path / "run"
    config = CompressionConfig(method=("none",), student="resnet8", cpu=True, data=ImagesConfig("digits"))
    pipeline = CompressionPipeline(config, digits, make_accelerator(cpu=True), folder)
    (trial,) = trials(pipeline.program, pipeline.workspace(trial=True))
    stored, checkpoints = training_bytes(trial.stage.task, trial.train_config, config.keep)
    needed = stored + checkpoints
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed))
    used = used_disk(folder)
    pipeline.check()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed - used - 2**16))
    with pytest.raises(OutputError, match=r"are needed and .*run has .* free: all stages.*--keep none"):
        pipeline.check()
    (folder / "model").write_bytes(bytes(2**16))
    pipeline.check()
