"""What data or settings of a user cause is a `UserError`; a wrong shape in a program is none."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from crdkit.common import UserError
from crdkit.evaluation import (
    AlignmentEvaluator,
    ClassificationSums,
    ConfusionMatrix,
    Features,
    evaluate_classifier,
    evaluate_segmenter,
    extract,
    knn_accuracy,
    match_ranks,
    probe_features,
    probe_logistic,
    tsne,
)
from crdkit.models import Outputs


def features(label: list[int]) -> Features:
    return Features(torch.randn(len(label), 3), torch.tensor(label))


def network(rgb: torch.Tensor) -> Outputs:
    return Outputs(None, (rgb,), rgb.mean((2, 3)))


def nan(rgb: torch.Tensor) -> Outputs:
    return Outputs(None, (rgb,), rgb.mean((2, 3)) / 0)


BATCHES = [{"rgb": torch.zeros(4, 3, 2, 2), "label": torch.arange(4)}]
ONE_OF_EACH, PAIRS = features([0, 1, 2]), features([0, 0, 1, 1])
ACCELERATOR: Any = SimpleNamespace()

USER: dict[str, Callable[[], object]] = {
    "label": lambda: ClassificationSums(3).update(torch.zeros(1, 3), torch.tensor([3])),
    "diverged": lambda: ClassificationSums(3).update(torch.full((1, 3), torch.nan), torch.tensor([0])),
    "no sample": lambda: evaluate_classifier(network, [], 3),
    "label map": lambda: ConfusionMatrix(3).update(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 3)),
    "no map": lambda: evaluate_segmenter(network, [], 3),
    "layer": lambda: extract(network, BATCHES, modality="rgb", layer=1),
    "grid": lambda: extract(network, BATCHES, modality="rgb", layer=0, grid=0),
    "grid of no map": lambda: extract(network, BATCHES, modality="rgb", grid=2),
    "diverged features": lambda: extract(nan, BATCHES, modality="rgb"),
    "no batch": lambda: extract(network, [], modality="rgb"),
    "untrained class": lambda: knn_accuracy(features([0, 1]), features([2]), neighbors=1),
    "neighbors": lambda: knn_accuracy(PAIRS, PAIRS, neighbors=5),
    "one class": lambda: probe_logistic(features([0, 0]), features([0])),
    "one of each class": lambda: probe_logistic(ONE_OF_EACH, ONE_OF_EACH),
    "fit": lambda: probe_features(PAIRS, PAIRS, fit="svm"),
    "fold": lambda: probe_features(PAIRS, PAIRS, folds=[torch.tensor([4])]),
    "too few to map": lambda: tsne(ONE_OF_EACH),
    "too few pairs": lambda: AlignmentEvaluator(range(3), range(9), ACCELERATOR, modality="rgb"),
}
PROGRAM: dict[str, Callable[[], object]] = {
    "rows": lambda: ClassificationSums(3).update(torch.zeros(1, 4), torch.tensor([0])),
    "labels": lambda: ClassificationSums(3).update(torch.zeros(2, 3), torch.tensor([0])),
    "maps": lambda: ConfusionMatrix(3).update(torch.zeros(1, 2, 2), torch.zeros(1, 2, 3)),
    "vectors": lambda: match_ranks(torch.zeros(2, 3), torch.zeros(2, 4)),
}


@pytest.mark.parametrize("fault", USER)
def test_data_and_settings_are_told_to_the_user(fault: str) -> None:
    with pytest.raises(UserError):
        USER[fault]()


@pytest.mark.parametrize("fault", PROGRAM)
def test_shapes_are_the_programs(fault: str) -> None:
    with pytest.raises(ValueError) as caught:
        PROGRAM[fault]()
    assert not isinstance(caught.value, UserError)
