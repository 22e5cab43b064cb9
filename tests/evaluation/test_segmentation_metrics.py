"""Segmentation metrics over a data set, against scikit-learn, and the evaluator around them."""

import math
from typing import Any

import pytest
import torch
from counting import scene
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from crdkit.evaluation import ConfusionMatrix, evaluate_segmenter
from crdkit.models import DepthCNN, Outputs, Segmenter


def test_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

    prediction, label = scene()
    matrix = ConfusionMatrix(5)
    for start in range(0, 6, 4):
        matrix.update(prediction[start : start + 4], label[start : start + 4])
    seen = label != 255
    truth, guess = label[seen].numpy(), prediction[seen].numpy()
    assert matrix.counts.tolist() == confusion_matrix(truth, guess, labels=range(5)).tolist()
    assert matrix.pixel_accuracy() == pytest.approx(accuracy_score(truth, guess), rel=1e-12)
    assert matrix.iou().tolist() == pytest.approx(jaccard_score(truth, guess, average=None), rel=1e-12)
    assert matrix.mean_iou() == pytest.approx(jaccard_score(truth, guess, average="macro"), rel=1e-12)


def test_it_is_not_the_mean_over_images() -> None:
    prediction, label = scene()
    matrix = ConfusionMatrix(5)
    matrix.update(prediction, label)
    per_image = []
    for p, t in zip(prediction, label, strict=True):
        one = ConfusionMatrix(5)
        one.update(p, t)
        per_image.append(one.mean_iou())
    assert abs(sum(per_image) / len(per_image) - matrix.mean_iou()) > 0.01


def test_batches_and_their_order_do_not_matter() -> None:
    prediction, label = scene()
    whole, parts = ConfusionMatrix(5), ConfusionMatrix(5)
    whole.update(prediction, label)
    for i in torch.randperm(6).tolist():
        parts.update(prediction[i : i + 1], label[i : i + 1])
    assert torch.equal(whole.counts, parts.counts)


def test_absent_classes_are_nan_and_left_out() -> None:
    matrix = ConfusionMatrix(4)
    matrix.update(torch.tensor([0, 0, 2, 1]), torch.tensor([0, 0, 1, 1]))
    # class 0 perfect; 1 half found; 2 predicted and never true: 0; 3 on neither side
    assert matrix.iou()[:3].tolist() == [1.0, 0.5, 0.0] and math.isnan(matrix.iou()[3])
    assert matrix.mean_iou() == 0.5
    assert matrix.pixel_accuracy() == 0.75
    matrix.reset()
    assert math.isnan(matrix.pixel_accuracy()) and math.isnan(matrix.mean_iou())


def test_ignored_pixels_count_nowhere_whatever_is_predicted_there() -> None:
    matrix = ConfusionMatrix(2, ignore=-1)
    matrix.update(torch.tensor([[0, 1, 99]]), torch.tensor([[0, 1, -1]]))
    assert matrix.counts.tolist() == [[1, 0], [0, 1]]
    matrix.update(torch.tensor([[0, 1]]), torch.tensor([[-1, -1]]))
    assert int(matrix.counts.sum()) == 2


def test_counts_beyond_what_float32_can_count() -> None:
    matrix = ConfusionMatrix(2)
    matrix.counts[0, 0] = 2**40
    matrix.update(torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert matrix.counts.tolist() == [[2**40 + 1, 1], [0, 0]]


def test_values_out_of_range_are_told() -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(ValueError, match=r"label.*0.*….*2.*255.*0.*….*7"):
        matrix.update(torch.tensor([0, 1]), torch.tensor([0, 7]))
    with pytest.raises(ValueError, match=r"prediction.*0.*….*2.*-1.*….*1"):
        matrix.update(torch.tensor([-1, 1]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"\(2,\).*\(1, 2\)"):
        matrix.update(torch.tensor([0, 1]), torch.tensor([[0, 1]]))
    assert int(matrix.counts.sum()) == 0
    with pytest.raises(ValueError, match=r"num_classes.*1.*0"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match=r"ignore.*3.*2"):
        ConfusionMatrix(3, ignore=2)


def test_two_ranks_add_up_to_the_whole(two_ranks: list[dict[str, Any]]) -> None:
    prediction, label = scene()
    whole = ConfusionMatrix(5)
    whole.update(prediction, label)
    assert [found["counts"] for found in two_ranks] == [whole.counts.tolist()] * 2


class Scenes(Dataset):
    """Depth images whose value is the class that is predicted."""

    def __init__(self) -> None:
        self.prediction, self.label = scene()

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"depth": self.prediction[i][None].float(), "label": self.label[i]}


class WholeBatches(Scenes):
    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        return {"depth": self.prediction[rows][:, None].float(), "label": self.label[rows]}


def by_value(depth: Tensor) -> Tensor:
    return -(depth - torch.arange(5.0).view(1, 5, 1, 1)).abs()


def test_segment_reads_loaders_lists_and_data_sets_alike() -> None:
    matrix = ConfusionMatrix(5)
    matrix.update(*scene())
    expected = matrix.compute()
    loader = DataLoader(Scenes(), batch_size=4)
    for batches in (loader, list(loader), iter(loader), Scenes(), WholeBatches()):
        assert evaluate_segmenter(by_value, batches, 5, modality="depth", batch_size=4) == expected
    whole = evaluate_segmenter(
        lambda batch: Outputs(by_value(batch["depth"]), (), batch["depth"]), Scenes(), 5
    )
    assert whole == expected
    assert set(expected) == {"pixel_accuracy", "mean_iou", "iou", "confusion"} and len(expected["iou"]) == 5


def test_segment_resizes_coarse_logits_to_the_labels() -> None:
    label = torch.zeros(1, 4, 8, dtype=torch.int64)
    label[..., 4:] = 1
    coarse = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    assert evaluate_segmenter(lambda _: coarse, [{"label": label}], 2)["pixel_accuracy"] == 1.0


def test_segment_runs_a_module_in_eval_without_a_trace() -> None:
    network = Segmenter(DepthCNN(widths=(4,), strides=(2,)), 5, input_size=(1, 8, 9))
    network.train()
    network.head.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first = evaluate_segmenter(network, Scenes(), 5, modality="depth", batch_size=2)
    assert first == evaluate_segmenter(network, Scenes(), 5, modality="depth", batch_size=6)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network.training and network.encoder.training and not network.head.training


def test_segment_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="no batch"):
        evaluate_segmenter(by_value, [], 5, modality="depth")
    with pytest.raises(KeyError, match="'rgb'"):
        evaluate_segmenter(by_value, Scenes(), 5, modality="rgb")
    with pytest.raises(ValueError, match=r"logits \(B, 4, h, w\), got \(6, 5, 8, 9\)"):
        evaluate_segmenter(by_value, Scenes(), 4, modality="depth")
    with pytest.raises(ValueError, match=r"got NoneType"):
        evaluate_segmenter(DepthCNN(widths=(4,), strides=(2,)), Scenes(), 5, modality="depth")
