"""Alignment of two embeddings, against plain loops, in cases whose answer is known, and over a data set."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from counting import aligned
from test_features import Small, images
from torch import Tensor, nn

from crdkit.data import PairedTensors
from crdkit.engine import make_accelerator
from crdkit.evaluation import (
    AlignmentEvaluator,
    align,
    effective_rank,
    embed,
    extract,
    linear_cka,
    match_ranks,
)

FIGURES = {"cosine", "r1", "r10", "back_r1", "back_r10", "cka", "effective_rank", "spread", "pairs"}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_cosine(a: Tensor, b: Tensor) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True)) / float(a.norm() * b.norm())


def naive_ranks(queries: Tensor, gallery: Tensor) -> list[int]:
    ranks = []
    for i, query in enumerate(queries):
        own = naive_cosine(query, gallery[i])
        others = [naive_cosine(query, row) for j, row in enumerate(gallery) if j != i]
        ranks.append(1 + sum(other >= own - 1e-6 for other in others))
    return ranks


def naive_cka(x: Tensor, y: Tensor) -> float:
    """Eq. 3 of Song et al., 2012, as sums over distinct samples, (i, j), (i, j, q) and (i, j, q, r)."""
    n = len(x)

    def hsic(k: Tensor, m: Tensor) -> float:
        pairs = triples = quadruples = 0.0
        for i in range(n):
            for j in range(n):
                if i == j:
                    continue
                pairs += float(k[i, j] * m[i, j])
                for q in range(n):
                    if q in (i, j):
                        continue
                    triples += float(k[i, j] * m[i, q])
                    quadruples += sum(float(k[i, j] * m[q, r]) for r in range(n) if r not in (i, j, q))
        two, three, four = (math.perm(n, count) for count in (2, 3, 4))
        return pairs / two - 2 * triples / three + quadruples / four

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def naive_align(
    fit: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], penalty: float
) -> dict[str, float]:
    """With one penalty, given by the normal equations."""
    mean, std = fit[0].mean(0), fit[0].std(0, correction=0)
    x, y = (fit[0] - mean) / std, fit[1] - fit[1].mean(0)
    weight = torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1]).double(), x.T @ y)
    predicted = (held_out[0] - mean) / std @ weight
    teacher = held_out[1] - fit[1].mean(0)
    n = len(teacher)
    ranks, back = naive_ranks(predicted, teacher), naive_ranks(teacher, predicted)
    return {
        "cosine": sum(naive_cosine(p, t) for p, t in zip(predicted, teacher, strict=True)) / n,
        "r1": sum(rank <= 1 for rank in ranks) / n,
        "r10": sum(rank <= 10 for rank in ranks) / n,
        "back_r1": sum(rank <= 1 for rank in back) / n,
        "back_r10": sum(rank <= 10 for rank in back) / n,
    }


def related(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two noisy views of the same five numbers, in 6 and 8 dimensions, off center and on other scales."""
    shared, mixing = normal(count, 5, seed=seed), normal(2, 5, 8, seed=99)
    student = shared @ mixing[0, :, :6] + 0.7 * normal(count, 6, seed=seed + 1) + 3
    teacher = 20 * (shared @ mixing[1] + 0.7 * normal(count, 8, seed=seed + 2)) - 5
    return student, teacher


def test_figures_are_those_of_plain_loops() -> None:
    fit, held_out = related(60, 0), related(25, 10)
    found = align(fit, held_out)
    assert set(found) == FIGURES and found["pairs"] == 25
    # The penalty of least leave-one-out error is one of a few; the figures are those of one of them.
    candidates = [naive_align(fit, held_out, 60 * 10.0**power) for power in range(-4, 2)]
    assert any(found == pytest.approx({**found, **one}, abs=1e-9) for one in candidates)
    assert 0.04 < found["r1"] < 1 and 0 < found["cosine"] < 1


def leave_one_out(fit: tuple[Tensor, Tensor], penalty: float) -> float:
    x = (fit[0] - fit[0].mean(0)) / fit[0].std(0, correction=0)
    y, error = fit[1] - fit[1].mean(0), 0.0
    for i in range(len(x)):
        rest = torch.arange(len(x)) != i
        gram = x[rest].T @ x[rest] + penalty * torch.eye(x.shape[1]).double()
        error += float((y[i] - x[i] @ torch.linalg.solve(gram, x[rest].T @ y[rest])).square().sum())
    return error


def test_the_penalty_is_that_of_least_leave_one_out_error() -> None:
    fit, held_out = related(40, 3), related(30, 13)
    penalties = [40 * 10.0**power for power in range(-4, 2)]
    best = min(penalties, key=lambda penalty: leave_one_out(fit, penalty))
    found = align(fit, held_out)
    assert found == pytest.approx({**found, **naive_align(fit, held_out, best)}, abs=1e-9)


def test_equal_embeddings_are_aligned_wholly_and_so_are_rotated_scaled_and_moved_ones() -> None:
    fit, held_out = normal(200, 16), normal(100, 16, seed=1)
    rotation = torch.linalg.qr(normal(16, 16, seed=2)).Q
    for scale, offset in ((1.0, 0.0), (1e-3, 5.0), (1e3, -7.0)):
        teachers = [scale * part @ rotation + offset for part in (fit, held_out)]
        found = align((fit, teachers[0]), (held_out, teachers[1]))
        assert [found[name] for name in ("r1", "r10", "back_r1", "back_r10")] == [1, 1, 1, 1]
        assert found["cosine"] == pytest.approx(1, abs=1e-6)
        assert found["cka"] == pytest.approx(1, abs=1e-9)


def test_unrelated_embeddings_are_at_chance() -> None:
    found = align(
        (normal(500, 16), normal(500, 24, seed=1)), (normal(500, 16, seed=2), normal(500, 24, seed=3))
    )
    for name, chance in (("r1", 1 / 500), ("r10", 10 / 500), ("back_r1", 1 / 500), ("back_r10", 10 / 500)):
        # Four deviations of a binomial.
        assert abs(found[name] - chance) < 4 * math.sqrt(chance / 500)
    assert abs(found["cosine"]) < 0.05 and abs(found["cka"]) < 0.02


def test_a_constant_student_finds_nothing() -> None:
    constant = torch.full((50, 7), 0.3)
    found = align((constant, normal(50, 5).float()), (constant, normal(50, 5, seed=1).float()))
    assert [found[name] for name in ("r1", "r10", "back_r1", "back_r10", "cka")] == [0, 0, 0, 0, 0]
    assert found["effective_rank"] == found["spread"] == 0
    found = align((normal(50, 5).float(), constant), (normal(50, 5, seed=1).float(), constant))
    assert [found[name] for name in ("r1", "r10", "back_r1", "back_r10", "cka")] == [0, 0, 0, 0, 0]


def test_ranks_are_those_of_plain_loops_and_ties_count_against() -> None:
    queries, gallery = normal(12, 4), normal(12, 4, seed=1)
    assert match_ranks(queries, gallery).tolist() == naive_ranks(queries, gallery)
    assert match_ranks(queries, 3 * queries).tolist() == [1] * 12
    twice = torch.cat([queries[:6], queries[:6]])
    assert match_ranks(twice, twice).tolist() == [2] * 12
    # A frame that differs by rounding is the same frame.
    nearly = torch.cat([queries[:6], queries[:6] * (1 + 1e-7) + 1e-8])
    assert match_ranks(nearly, nearly).tolist() == [2] * 12
    assert match_ranks(torch.zeros(12, 4), gallery).tolist() == [12] * 12
    with pytest.raises(ValueError, match=r"\(12, 4\).*\(11, 4\)"):
        match_ranks(queries, gallery[1:])


@pytest.mark.parametrize("k", [1, 3, 8])
def test_effective_rank_of_k_equal_directions_is_k(k: int) -> None:
    directions = torch.linalg.qr(normal(10, 10)).Q[:k]
    vectors = torch.cat([directions, -directions] * 5) * 4.2
    assert effective_rank(vectors) == pytest.approx(k)
    assert effective_rank(vectors.float()) == pytest.approx(k, rel=1e-4)


def test_rank_and_spread_of_an_alignment_are_about_the_mean() -> None:
    directions = torch.linalg.qr(normal(6, 6)).Q[:3]
    student = torch.cat([directions, -directions] * 4) + 10 * torch.linalg.qr(normal(6, 6)).Q[4]
    teacher = normal(24, 5)
    found = align((student, teacher), (student, teacher))
    assert found["effective_rank"] == pytest.approx(3)
    assert found["spread"] == pytest.approx(1 / math.sqrt(101))
    near = 1 + 1e-4 * student
    assert align((near, teacher), (near, teacher))["spread"] < 1e-3
    line = normal(24, 1) * normal(1, 6, seed=5) + 3
    assert align((line, teacher), (line, teacher))["effective_rank"] == pytest.approx(1, abs=1e-6)


def test_effective_rank_is_the_entropys() -> None:
    vectors = normal(9, 4) * torch.tensor([1.0, 2.0, 5.0, 0.1])
    values = np.linalg.svd(vectors.numpy(), compute_uv=False)
    share = values / values.sum()
    assert effective_rank(vectors) == pytest.approx(math.exp(-sum(p * math.log(p) for p in share)))
    assert effective_rank(torch.zeros(5, 3)) == 0
    assert effective_rank(torch.full((5, 3), 0.7)) == pytest.approx(1)


def test_cka_is_that_of_the_sums_over_distinct_samples() -> None:
    x, y = normal(7, 3), normal(7, 5, seed=1)
    y[:, :3] += 2 * x
    assert linear_cka(x, y) == pytest.approx(naive_cka(x, y), rel=1e-9)
    assert linear_cka(x, 5 * y + 3) == pytest.approx(linear_cka(y, x), rel=1e-9)
    # With more dimensions than samples the biased estimate would be near 1.
    assert abs(linear_cka(normal(100, 1000), normal(100, 1000, seed=1))) < 0.1
    assert linear_cka(torch.full((9, 4), 0.1), normal(9, 4)) == 0
    with pytest.raises(ValueError, match="3"):
        linear_cka(normal(3, 2), normal(3, 2))


def test_faults_are_named() -> None:
    good = normal(9, 3), normal(9, 4)
    with pytest.raises(ValueError, match=r"held_out.*\(9, 3\).*\(8, 4\)"):
        align(good, (good[0], good[1][:8]))
    with pytest.raises(ValueError, match=r"fit.*4.*3"):
        align((good[0][:3], good[1][:3]), good)
    with pytest.raises(ValueError, match=r"fit.*NaN"):
        align((good[0] * math.nan, good[1]), good)
    with pytest.raises(ValueError, match=r"held_out.*3"):
        AlignmentEvaluator(images(), images(3), make_accelerator(cpu=True), modality="rgb")


def pairs(count: int) -> PairedTensors:
    """Without labels."""
    rgb = torch.randint(0, 256, (count, 3, 12, 16), dtype=torch.uint8)
    return PairedTensors(rgb=rgb, other=rgb.flip(3).float() / 255)


def test_embeddings_of_samples_without_labels_are_those_of_extract() -> None:
    network, data = Small(), images()
    unlabeled = data.select("rgb")
    with pytest.raises(KeyError, match="label"):
        extract(network, unlabeled, modality="rgb")
    found = embed(network, unlabeled, modality="rgb", batch_size=4)
    assert torch.equal(found, extract(network, data, modality="rgb", batch_size=4).vectors)
    assert network.training
    with pytest.raises(ValueError, match="no batch"):
        embed(network, [], modality="rgb")


def test_evaluator_reads_at_most_so_many_pairs_and_runs_a_teacher_once() -> None:
    torch.manual_seed(0)
    fit, held_out = pairs(40), pairs(30)
    student, teacher = Small().train(), Small().train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    generator = torch.get_rng_state()
    evaluator = AlignmentEvaluator(fit, held_out, make_accelerator(cpu=True), modality="other", pairs=20)
    calls: list[int] = []
    teacher.register_forward_hook(lambda module, given, outputs: calls.append(len(given[0])))
    found = evaluator(student, [(teacher, "rgb")])
    assert sum(calls) == 40 and found["pairs"] == 20
    assert evaluator(student, [(teacher, "rgb")]) == found and sum(calls) == 40
    assert student.training and teacher.training and torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())

    drawn = [
        torch.randperm(n, generator=torch.Generator().manual_seed(0))[:20].sort().values for n in (40, 30)
    ]
    parts = [data.subset(rows) for data, rows in zip((fit, held_out), drawn, strict=True)]
    both = [(embed(student, p, modality="other"), embed(teacher, p, modality="rgb")) for p in parts]
    assert found == pytest.approx(align(*both))
    other = Small()
    alone = evaluator(student, [(other, "rgb")])
    mean = evaluator(student, [(teacher, "rgb"), (other, "rgb")])
    assert mean == pytest.approx({name: (found[name] + alone[name]) / 2 for name in found})
    with pytest.raises(ValueError, match="teacher"):
        evaluator(student, [])


def test_a_teacher_that_nobody_holds_is_forgotten() -> None:
    evaluator = AlignmentEvaluator(pairs(8), pairs(8), make_accelerator(cpu=True), modality="other")
    student: nn.Module = Small()
    for _ in range(2):
        evaluator(student, [(Small(), "rgb")])
    assert len(evaluator._teachers) == 0


def test_two_ranks_have_the_figures_of_one(two_ranks: list[dict[str, Any]]) -> None:
    alone = aligned()
    assert alone["pairs"] == 150 and alone["r10"] > 0.1
    for found in two_ranks:
        assert found["aligned"] == pytest.approx(alone, rel=1e-6)
    assert two_ranks[0]["aligned"] == two_ranks[1]["aligned"]
