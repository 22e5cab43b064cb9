"""Every pass of a pipeline over its data reads with the configured number of workers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_pipelines import ONE, compression, crossmodal, digits

from crdkit.crossmodal import RecognitionConfig, RecognitionPipeline, SegmentConfig
from crdkit.data import ImagesConfig, ImageSplits, statistics
from crdkit.engine import make_accelerator
from crdkit.evaluation import batches
from crdkit.models import PyramidSegmenter, create
from crdkit.pipelines import StudentRun
from crdkit.transfer import TeachersConfig, TransferConfig

__all__ = ["digits"]

WORKERS = replace(ONE, num_workers=2)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of workers that each pass asks for; no process is started."""
    numbers: list[int] = []
    for module in (batches, statistics):
        real: Callable[..., Any] = module.read_in_order

        def read(*given: Any, num_workers: int = 0, real: Callable[..., Any] = real, **options: Any) -> Any:
            numbers.append(num_workers)
            return real(*given, **options)

        monkeypatch.setattr(module, "read_in_order", read)
    return numbers


def test_compression(digits: ImageSplits, tmp_path: Path, workers: list[int]) -> None:
    one = compression(digits, tmp_path, transfer=TransferConfig(train=WORKERS))
    one._others = {"others": digits}  # type: ignore[misc]
    network = create("resnet8", num_classes=3)
    one.evaluator(network)
    one.probe(network)
    assert len(workers) >= 3 and set(workers) == {2}


def test_segmentation(tmp_path: Path, workers: list[int]) -> None:
    transfer, segment = TransferConfig(train=WORKERS), SegmentConfig(train=WORKERS)
    one = crossmodal(tmp_path, transfer=transfer, segment=segment)
    encoder = create("depth_cnn", num_classes=None, in_channels=1)
    one.evaluator("depth")(PyramidSegmenter(encoder, 4, input_size=(1, 32, 32), width=8))
    assert len(workers) >= 2 and set(workers) == {2}


def test_recognition(digits: ImageSplits, tmp_path: Path, workers: list[int]) -> None:
    config = RecognitionConfig(
        cpu=True,
        data=ImagesConfig("digits", classes=3),
        student="resnet8",
        student_modality="l",
        teacher=TeachersConfig(modality=("l",), architecture=("resnet8",), train=WORKERS),
        transfer=TransferConfig(train=WORKERS),
        finetune=WORKERS,
    )
    images = replace(digits, unlabeled=digits.train.select("rgb"))
    one = RecognitionPipeline(config, images, make_accelerator(cpu=True), tmp_path)
    student = one.builder.student()
    one.evaluate_frozen(StudentRun("none", 0), student)
    one.evaluator("l")(one.builder.teacher(0).network)
    assert len(workers) >= 4 and set(workers) == {2}
