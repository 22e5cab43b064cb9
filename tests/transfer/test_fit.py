"""What cannot fit is told from the numbers alone, with the figure and what to lower."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from crdkit.common import OutputError
from crdkit.compression import CompressionConfig
from crdkit.distillers import parse_settings
from crdkit.pipelines.preflight.memory import check_fit, require_disk
from crdkit.transfer import TransferConfig


def pipeline(samples: int, *settings: str, method: str = "crd", folder: Any = None, **more: Any) -> Any:
    data = SimpleNamespace(
        dataset=range(samples),
        modality="rgb",
        shape=lambda modality: (3, 32, 32),
        labels=None,
        groups=None,
    )
    return SimpleNamespace(
        config=CompressionConfig(method=(method,), transfer=TransferConfig(**more)),
        data=data,
        settings=parse_settings(settings),
        stages=SimpleNamespace(cache=folder),
        accelerator=SimpleNamespace(device=torch.device("cpu"), num_processes=1),
    )


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
        check_fit(pipeline(samples, *settings))
    assert "\n" not in str(refused.value)


def test_queues() -> None:
    with pytest.raises(ValueError, match=r"crd-dense's queues.*crd-dense\.queue_size"):
        check_fit(pipeline(100, "crd-dense.queue_size=1000000000000", method="crd-dense"))


def test_cached_pixels(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cached-augmentations"):
        check_fit(pipeline(10**4, folder=tmp_path, cached_augmentations=10**9))
    with pytest.raises(ValueError, match=r"GiB.*free.*cached-augmentations"):
        check_fit(pipeline(10**4, cached_augmentations=10**9, cache_limit=1e12))


def test_what_fits_is_let_pass(tmp_path: Path) -> None:
    check_fit(pipeline(10**4, folder=tmp_path, cached_augmentations=2))
    check_fit(pipeline(1000, method="none"))
    check_fit(pipeline(1000, "crd.num_negatives=5000", method="crd+kd"))


def test_the_disk_of_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2**21))
    run: Any = SimpleNamespace(stages=SimpleNamespace(folder=tmp_path / "run"))
    require_disk(run, 2**21)
    with pytest.raises(OutputError, match=r"3 MiB are needed and .*run has 2 free: all stages.*--keep none"):
        require_disk(run, 3 * 2**20)
    assert not (tmp_path / "run").exists()
    run.stages.folder.mkdir()
    (tmp_path / "run" / "model").write_bytes(bytes(2**20))  # there already, on --resume
    require_disk(run, 3 * 2**20)
