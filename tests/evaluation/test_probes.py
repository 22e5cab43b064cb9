"""Linear probes and nearest neighbors, against scikit-learn's own pipelines."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from crdkit.evaluation import Features, ProbeResult, knn_accuracy, probe_logistic, probe_sgd
from crdkit.evaluation.probe import hold_out


def blobs(count: int, *, seed: int, spread: float = 2.0) -> Features:
    """Four clouds about fixed centers, off the origin, in six dimensions of unlike scales and a dead one."""
    classes, dimension = 4, 6
    centers = torch.randn(classes, dimension, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (count,), generator=generator)
    vectors = centers[label] + spread * torch.randn(count, dimension, generator=generator)
    vectors = 5 + vectors * torch.logspace(-2, 2, dimension)
    return Features(torch.cat([vectors, torch.full((count, 1), 0.1)], dim=1), label)


def permuted(features: Features) -> Features:
    order = torch.randperm(len(features.label), generator=torch.Generator().manual_seed(5))
    return features._replace(label=features.label[order])


TRAIN, TEST = blobs(160, seed=1), blobs(90, seed=2)
STRENGTHS = (1e-3, 0.1, 10.0)


def logistic(x: Tensor, y: Tensor, z: Tensor, truth: Tensor, strength: float) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    fitted = pipeline.fit(x.double().numpy(), y.numpy())
    return fitted.score(z.double().numpy(), truth.numpy())


def test_logistic_probe_is_scikit_learns_pipeline() -> None:
    result = probe_logistic(TRAIN, TEST, strengths=STRENGTHS, seed=3)
    known, chooser = hold_out(TRAIN.label, 0.2, 3)
    validation = [
        logistic(TRAIN.vectors[known], TRAIN.label[known], TRAIN.vectors[chooser], TRAIN.label[chooser], c)
        for c in STRENGTHS
    ]
    assert result.validation == pytest.approx(validation, rel=1e-12)
    assert len(set(validation)) > 1
    assert result.chosen == STRENGTHS[int(np.argmax(validation))]
    expected = logistic(TRAIN.vectors, TRAIN.label, TEST.vectors, TEST.label, result.chosen)
    assert result.top1 == pytest.approx(expected, rel=1e-12)
    assert 0.3 < result.top1 < 0.95
    assert (result.candidates, result.n_train, result.n_test, result.dimension) == (STRENGTHS, 160, 90, 7)


def probe(kind: str, train: Features, test: Features, **settings: int) -> ProbeResult:
    if kind == "logistic":
        return probe_logistic(train, test, strengths=STRENGTHS, **settings)
    return probe_sgd(train, test, epochs=5, batch_size=32, **settings)


@pytest.mark.parametrize("kind", ["logistic", "sgd"])
def test_the_choice_never_sees_the_test_samples(kind: str) -> None:
    first, other = probe(kind, TRAIN, TEST), probe(kind, TRAIN, permuted(TEST))
    assert first._replace(top1=0.0) == other._replace(top1=0.0)
    assert first.top1 != other.top1
    elsewhere = probe(kind, TRAIN, TEST._replace(vectors=TEST.vectors * 3 - 7))
    assert elsewhere._replace(top1=0.0) == first._replace(top1=0.0)


@pytest.mark.parametrize("kind", ["logistic", "sgd"])
def test_same_seed_same_result_and_another_splits_anew(kind: str) -> None:
    assert probe(kind, TRAIN, TEST) == probe(kind, TRAIN, TEST)
    assert probe(kind, TRAIN, TEST).validation != probe(kind, TRAIN, TEST, seed=1).validation


def test_sgd_probe_separates_what_is_separable() -> None:
    train, test = blobs(200, spread=0.05, seed=1), blobs(100, spread=0.05, seed=2)
    result = probe_sgd(train, test, lrs=(0.1, 0.01), batch_size=50)
    assert result.top1 == 1.0 and max(result.validation) == 1.0
    assert result.candidates == (0.01, 0.1)


def test_sgd_probe_comes_to_the_optimum_of_the_same_loss() -> None:
    # With weight decay the optimum is unique, and scikit-learn's at C = 1 / (decay n).
    decay, chosen = 0.1, blobs(160, seed=1)
    result = probe_sgd(
        chosen, TEST, lrs=(0.05,), epochs=200, batch_size=160, weight_decay=decay, held_out=0.2
    )
    expected = logistic(chosen.vectors, chosen.label, TEST.vectors, TEST.label, 1 / (decay * 160))
    assert result.top1 == pytest.approx(expected, abs=1.5 / 90)


def test_sgd_probe_works_where_gradients_are_off_and_leaves_the_generator() -> None:
    before = torch.get_rng_state()
    with torch.no_grad():
        off = probe("sgd", TRAIN, TEST)
    assert off == probe("sgd", TRAIN, TEST)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_class_is_held_out_in_its_share() -> None:
    label = torch.tensor([0] * 50 + [1] * 10 + [2] * 2 + [3])
    known, held = hold_out(label, 0.2, 0)
    assert sorted([*known.tolist(), *held.tolist()]) == list(range(63))
    assert label[held].bincount(minlength=4).tolist() == [10, 2, 1, 0]
    assert torch.equal(held, hold_out(label, 0.2, 0)[1]) and not torch.equal(held, hold_out(label, 0.2, 1)[1])
    with pytest.raises(ValueError, match="single"):
        hold_out(torch.arange(3), 0.2, 0)
    with pytest.raises(ValueError, match=r"0.*1.*1"):
        hold_out(label, 1, 0)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_neighbors_vote_with_their_nearness(temperature: float) -> None:
    train, test = (Features(part.vectors[:, :6] - 5, part.label) for part in (TRAIN, TEST))
    right, first = 0, 0
    for query, truth in zip(test.vectors.double(), test.label.tolist(), strict=True):
        rows = train.vectors.double()
        cosine = [float(query @ row / (query.norm() * row.norm())) for row in rows]
        nearest = sorted(range(len(rows)), key=lambda i, c=cosine: -c[i])[:20]
        votes: dict[int, float] = {}
        for i in nearest:
            label = int(train.label[i])
            votes[label] = votes.get(label, 0.0) + math.exp(cosine[i] / temperature)
        right += max(votes, key=lambda label, v=votes: v[label]) == truth
        first += int(train.label[nearest[0]]) == truth
    assert knn_accuracy(train, test, temperature=temperature) == pytest.approx(right / len(test.label))
    assert knn_accuracy(train, train, neighbors=1) == 1.0
    # A temperature near zero leaves the nearest alone to vote, and overflows nothing.
    assert knn_accuracy(train, test, temperature=1e-9) == pytest.approx(first / len(test.label))


def test_nearness_is_the_angle() -> None:
    longer = TEST._replace(vectors=TEST.vectors * torch.rand(90, 1).add(0.1))
    assert knn_accuracy(TRAIN, longer) == knn_accuracy(TRAIN, TEST)


def test_faults_are_named() -> None:
    for judge in (probe_logistic, probe_sgd, knn_accuracy):
        with pytest.raises(ValueError, match=r"train.*7.*6"):
            judge(TRAIN, TEST._replace(vectors=TEST.vectors[:, 1:]))
        with pytest.raises(ValueError, match=r"\b9\b"):
            judge(TRAIN, TEST._replace(label=TEST.label.clone().index_fill_(0, torch.tensor([4]), 9)))
        with pytest.raises(ValueError, match=r"\(N, D\).*\(N,\).*\(90, 7\).*\(89,\)"):
            judge(TRAIN, TEST._replace(label=TEST.label[1:]))
        with pytest.raises(ValueError, match="test"):
            judge(TRAIN, Features(TEST.vectors[:0], TEST.label[:0]))
    one = Features(torch.rand(5, 7), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="classes"):
        probe_logistic(one, one)
    with pytest.raises(ValueError, match=r"strengths.*\(-1, 1\)"):
        probe_logistic(TRAIN, TEST, strengths=(1, -1))
    with pytest.raises(ValueError, match="lrs"):
        probe_sgd(TRAIN, TEST, lrs=())
    with pytest.raises(ValueError, match=r"epochs.*1.*0"):
        probe_sgd(TRAIN, TEST, epochs=0)
    with pytest.raises(ValueError, match=r"160, .* got 161"):
        knn_accuracy(TRAIN, TEST, neighbors=161)
    with pytest.raises(ValueError, match=rf"temperature.*-{math.inf}"):
        knn_accuracy(TRAIN, TEST, temperature=-math.inf)
