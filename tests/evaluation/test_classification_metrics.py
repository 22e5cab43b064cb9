"""Metrics of a classifier over a data set, against scikit-learn and numpy, and the evaluator around them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from counting import answers
from scipy.special import log_softmax
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from crdkit.evaluation import ClassificationSums, Correlation, evaluate_classifier
from crdkit.models import Outputs, freeze


def same(logits: Tensor) -> Tensor:
    return logits


def sums(rows: dict[str, Tensor], sizes: tuple[int, ...]) -> ClassificationSums:
    result = ClassificationSums(rows["student"].shape[1], teacher=True)
    parts = zip(*(rows[name].split(sizes) for name in ("student", "label", "teacher")), strict=True)
    for student, label, teacher in parts:
        result.update(student, label, teacher)
    return result


def test_agrees_with_scikit_learn_and_numpy() -> None:
    from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score

    given = answers()
    student, teacher = (given[name].double().numpy() for name in ("student", "teacher"))
    label = given["label"].numpy()
    metrics = sums(given, (16, 16, 5)).compute()
    assert metrics["top1"] == pytest.approx(accuracy_score(label, student.argmax(1)), rel=1e-12)
    expected = top_k_accuracy_score(label, student, k=5, labels=range(7))
    assert metrics["top5"] == pytest.approx(expected, rel=1e-12)
    log_p, log_q = log_softmax(student, 1), log_softmax(teacher, 1)
    expected = log_loss(label, np.exp(log_p), labels=range(7))
    assert metrics["cross_entropy"] == pytest.approx(expected, rel=1e-9)
    assert metrics["agreement"] == np.mean(student.argmax(1) == teacher.argmax(1))
    expected = (np.exp(log_q) * (log_q - log_p)).sum(1).mean()
    assert metrics["divergence"] == pytest.approx(expected, rel=1e-12)
    matrices = [np.corrcoef(logits.T) for logits in (student, teacher)]
    np.testing.assert_allclose(metrics["correlation"], matrices[0], atol=1e-13)
    np.testing.assert_allclose(metrics["teacher_correlation"], matrices[1], atol=1e-13)
    expected = np.abs(matrices[0] - matrices[1]).mean()
    assert metrics["correlation_difference"] == pytest.approx(expected, rel=1e-10)
    assert 0 < metrics["agreement"] < 1 and metrics["divergence"] > 0.1 and expected > 0.01


def test_a_network_beside_itself_differs_in_nothing() -> None:
    given = answers()
    metrics = sums(given | {"teacher": given["student"]}, (37,)).compute()
    assert metrics["agreement"] == 1
    assert metrics["divergence"] == metrics["correlation_difference"] == 0


def test_batches_and_their_order_do_not_matter() -> None:
    given = answers()
    whole = sums(given, (37,)).compute()
    order = torch.randperm(37)
    parts = sums({name: value[order] for name, value in given.items()}, (1, 0, 20, 9, 7)).compute()
    assert whole.keys() == parts.keys()
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-12, atol=1e-12)


def test_correlation_survives_a_large_mean_and_knows_what_does_not_vary() -> None:
    rows = torch.randn(300, 3, dtype=torch.float64) @ torch.randn(3, 3, dtype=torch.float64) + 1e7
    rows = torch.cat([rows, torch.full((300, 1), 0.1)], dim=1)
    correlation = Correlation(4)
    for part in rows.split(64):
        correlation.update(part)
    matrix = correlation.matrix()
    np.testing.assert_allclose(matrix[:3, :3], np.corrcoef(rows[:, :3].T), atol=1e-8)
    assert matrix[3].isnan().all() and matrix[:, 3].isnan().all()
    with pytest.raises(ValueError, match=r"rows.*\(B, 4\).*\(300, 3\)"):
        correlation.update(rows[:, :3])


def test_a_constant_logit_is_left_out_of_the_mean_difference() -> None:
    given = answers()
    given["student"][:, 2] = 0.1
    metrics = sums(given, (30, 7)).compute()
    difference = (metrics["correlation"] - metrics["teacher_correlation"]).abs()
    others = [0, 1, 3, 4, 5, 6]
    assert metrics["correlation_difference"] == pytest.approx(float(difference[others][:, others].mean()))


def test_equal_logits_rank_by_number_in_top_1_and_top_5() -> None:
    metrics = ClassificationSums(6)
    metrics.update(torch.zeros(6, 6, dtype=torch.bfloat16), torch.arange(6))
    found = metrics.compute()
    assert found["top1"] == 1 / 6 and found["top5"] == 5 / 6
    assert found["cross_entropy"] == pytest.approx(math.log(6), rel=1e-12)
    assert "agreement" not in found and "correlation" not in found


def test_top_5_needs_five_classes() -> None:
    metrics = ClassificationSums(4)
    metrics.update(torch.eye(4), torch.arange(4))
    assert set(metrics.compute()) == {"top1", "cross_entropy", "confusion"} and metrics.compute()["top1"] == 1
    assert metrics.compute()["confusion"] == torch.eye(4).tolist()


@pytest.mark.parametrize("shares", ["uneven", "one rank has none"])
def test_two_ranks_add_up_to_the_whole(shares: str, two_ranks: list[dict[str, Any]]) -> None:
    whole = sums(answers(), (37,)).compute()
    first, second = (found[shares] for found in two_ranks)
    assert first == second and set(first) == set(whole)
    for name in whole:
        np.testing.assert_allclose(first[name], whole[name], rtol=1e-12, atol=1e-12)


class Rows(Dataset):
    def __init__(self) -> None:
        self.given = answers()

    def __len__(self) -> int:
        return 37

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {name: value[i] for name, value in self.given.items()}


def test_classify_reads_loaders_lists_and_data_sets_alike() -> None:
    expected = sums(answers(), (16, 16, 5)).compute()
    loader = DataLoader(Rows(), batch_size=16)
    for batches in (loader, list(loader), iter(loader), Rows()):
        found = evaluate_classifier(
            same, batches, 7, teacher=same, modality="student", teacher_modality="teacher", batch_size=16
        )
        assert found.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)
    alone = evaluate_classifier(lambda batch: Outputs(batch["student"], (), batch["student"]), Rows(), 7)
    assert set(alone) == {"top1", "top5", "cross_entropy", "confusion"} and alone["top1"] == expected["top1"]


def test_classify_runs_modules_in_eval_without_a_trace() -> None:
    student = nn.Sequential(nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Linear(7, 7))
    teacher = freeze(nn.Sequential(nn.BatchNorm1d(7), nn.Linear(7, 7)))
    student.train()
    student[2].eval()
    networks = nn.ModuleList([student, teacher])
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    first = evaluate_classifier(student, Rows(), 7, teacher=teacher, modality="student", batch_size=5)
    again = evaluate_classifier(student, Rows(), 7, teacher=teacher, modality="student", batch_size=37)
    assert first["top1"] == again["top1"] and first["divergence"] == pytest.approx(again["divergence"])
    assert all(torch.equal(value, before[name]) for name, value in networks.state_dict().items())
    assert student.training and student[1].training and not student[2].training
    with pytest.raises(ValueError, match="logits"):
        evaluate_classifier(student, Rows(), 8, modality="student")
    assert student.training and not student[2].training


def test_classify_says_what_is_wrong() -> None:
    batch = answers()
    with pytest.raises(ValueError, match="no sample"):
        evaluate_classifier(same, [], 7, modality="student")
    with pytest.raises(KeyError, match="'rgb'"):
        evaluate_classifier(same, [batch], 7, teacher=same, modality="student", teacher_modality="rgb")
    with pytest.raises(ValueError, match=r"logits.*\(B, 6\).*\(37, 7\)"):
        evaluate_classifier(same, [batch], 6, modality="student")
    with pytest.raises(ValueError, match=r"logits.*\(B, 7\).*NoneType"):
        evaluate_classifier(lambda x: Outputs(None, (), x), [batch], 7, modality="student")
    with pytest.raises(ValueError, match=r"label.*0.*….*6.*0.*….*7"):
        evaluate_classifier(
            same, [batch | {"label": batch["label"] + (batch["label"] == 6)}], 7, modality="student"
        )
    with pytest.raises(ValueError, match=r"label.*\(37,\).*\(36,\)"):
        evaluate_classifier(same, [batch | {"label": batch["label"][1:]}], 7, modality="student")
    broken = batch | {"teacher": batch["teacher"] / 0}
    with pytest.raises(ValueError, match=r"teacher_logits.*NaN.*37"):
        evaluate_classifier(
            same, [batch, broken], 7, teacher=same, modality="student", teacher_modality="teacher"
        )
    with pytest.raises(ValueError, match="update"):
        ClassificationSums(7, teacher=True).update(batch["student"], batch["label"])
    with pytest.raises(ValueError, match=r"num_classes.*1.*0"):
        ClassificationSums(0)
