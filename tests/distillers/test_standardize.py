"""Standardized targets: naive statistics, PHI-S, what stays fixed, resuming, two ranks, the methods."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from crdkit.distillers import METHODS, BatchMeta, Standardize, build_terms, parse_method
from crdkit.distillers.standardize import equal_variances

C, M = 6, 30
SCRIPT = Path(__file__).with_name("standardize_ranks.py")
kinds = pytest.mark.parametrize("rotate", [False, True], ids=["channels", "phi-s"])


def features(*sizes: int, seed: int = 0, channels: int = C) -> list[Tensor]:
    """Batches of correlated maps, (B, C, 2, 3), of channels that differ in mean and spread."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, channels, generator=generator) * torch.logspace(-1, 1, channels)
    return [
        torch.einsum("bchw,cd->bdhw", torch.randn(b, channels, 2, 3, generator=generator), mix) + 3
        for b in sizes
    ]


def naive(batches: list[Tensor]) -> tuple[list[float], list[float]]:
    """Mean and biased variance of every channel over all samples and positions."""
    means, variances = [], []
    for channel in range(batches[0].shape[1]):
        values = [
            float(x[b, channel, h, w])
            for x in batches
            for b in range(x.shape[0])
            for h in range(x.shape[2])
            for w in range(x.shape[3])
        ]
        mean = sum(values) / len(values)
        means.append(mean)
        variances.append(sum((value - mean) ** 2 for value in values) / len(values))
    return means, variances


def test_statistics_are_those_of_all_samples_so_far() -> None:
    module, batches = Standardize(C, M), features(4, 7, 1)
    for seen, x in enumerate(batches, start=1):
        found = module(x)
        means, variances = naive(batches[:seen])
        torch.testing.assert_close(module.mean, torch.tensor(means))
        torch.testing.assert_close(module.variance, torch.tensor(variances))
        expected = torch.empty_like(x)
        for channel in range(C):
            deviation = math.sqrt(variances[channel])
            expected[:, channel] = (x[:, channel] - means[channel]) / deviation
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert int(module.count) == 12


@kinds
def test_fixed_after_the_first_epoch_and_in_eval_mode(rotate: bool) -> None:
    module = Standardize(C, M, rotate=rotate)
    for x in features(16, 14):
        module(x)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for x in features(*[5] * 60, seed=1):  # past the look at whether they are complete
        module(x)
    after = module.state_dict()
    assert module._is_complete and all(torch.equal(after[name], value) for name, value in before.items())
    fresh = Standardize(C, M, rotate=rotate).eval()
    (x,) = features(4)
    torch.testing.assert_close(fresh(x), x)  # before the first batch: mean 0, variance 1
    assert int(fresh.count) == 0


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 13, 32])
def test_phi_s_has_one_variance_and_keeps_distances(channels: int) -> None:
    (x,) = features(40, channels=channels)
    module = Standardize(channels, 40, rotate=True)
    rows = module(x).movedim(1, -1).flatten(0, 2)
    torch.testing.assert_close(rows.mean(0), torch.zeros(channels), rtol=0, atol=1e-3)
    torch.testing.assert_close(rows.var(0, correction=0), torch.ones(channels), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(module.rotation @ module.rotation.T, torch.eye(channels), rtol=0, atol=1e-5)
    plain = x.movedim(1, -1).flatten(0, 2)
    ratio = torch.pdist(rows) / torch.pdist(plain)
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=0)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 12, 16])
def test_equal_variances(size: int) -> None:
    for values in (torch.rand(size).double().sort().values, torch.ones(size).double(), torch.zeros(size)):
        q = equal_variances(values)
        torch.testing.assert_close(q @ q.T, torch.eye(size, dtype=q.dtype))
        torch.testing.assert_close((q @ values.diag() @ q.T).diag(), values.mean().expand(size))
    if size in (1, 2, 4, 16):
        torch.testing.assert_close(q.abs(), torch.full_like(q, size**-0.5))


@kinds
def test_edge_cases_are_finite(rotate: bool) -> None:
    for x in (torch.full((1, C), 3.0), torch.zeros(4, C, 2, 2), torch.randn(1, C), torch.full((2, C), 1e-20)):
        assert Standardize(C, M, rotate=rotate)(x).isfinite().all()
    module, (good, bad) = Standardize(C, M, rotate=rotate), features(4, 4)
    bad[0, 0, 0, 0] = torch.nan
    module(bad)
    assert int(module.count) == 0
    assert module(good).isfinite().all() and int(module.count) == 4
    half = Standardize(C, M, rotate=rotate)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert half(good.bfloat16()).dtype == torch.float32
    assert Standardize(C, M, rotate=rotate)(good.double()).dtype == torch.float64


def test_a_channel_that_hardly_fires_is_not_blown_up_and_the_unit_is_all_one() -> None:
    (x,) = features(20)
    x[:, 0] = 1e-6 * torch.randn(20, 2, 3)
    found = Standardize(C, M)(x)
    assert found[:, 0].abs().max() < 0.01
    torch.testing.assert_close(Standardize(C, M)(1e3 * x), found, rtol=1e-3, atol=1e-3)


@kinds
def test_save_load_step_equals_step_step(rotate: bool) -> None:
    first, second, third = features(4, 5, 6)
    module, resumed = Standardize(C, M, rotate=rotate), Standardize(C, M, rotate=rotate)
    module(first)
    resumed(third)  # whatever it had is forgotten
    resumed.load_state_dict(module.state_dict())
    assert torch.equal(resumed(second), module(second))
    for name, value in module.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """The batches, of which one does not divide by two, and what each of two ranks found."""
    folder, batches = tmp_path_factory.mktemp("ranks"), features(8, 5, 8, 12)
    torch.save(batches, folder / "input.pt")
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                SCRIPT,
                str(rank),
                "2",
                folder / "store",
                folder / "input.pt",
                folder / str(rank),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return batches, [torch.load(folder / str(rank), weights_only=True) for rank in range(2)]


@kinds
def test_two_ranks_hold_the_same_bits_and_equal_one_process(rotate: bool, ranks) -> None:
    batches, (one, two) = ranks
    module = Standardize(C, M, rotate=rotate)
    outputs = [module(x) for x in batches]
    one, two = one[str(rotate)], two[str(rotate)]
    for name, value in module.state_dict().items():
        assert torch.equal(one["state"][name], two["state"][name]), name
        if name != "rotation":
            torch.testing.assert_close(one["state"][name], value, rtol=1e-4, atol=1e-4)
    for expected, *parts in zip(outputs, one["outputs"], two["outputs"], strict=True):
        torch.testing.assert_close(torch.cat(parts), expected, rtol=1e-3, atol=1e-3)


STANDARDIZED = ("fitnet", "vid", "crd", "crd-local", "crd-dense", "cosine", "reviewkd")


@pytest.mark.parametrize("standardize", [True, "phi-s"])
@pytest.mark.parametrize("method", STANDARDIZED)
def test_a_method_does_not_see_the_scale_of_a_standardized_teacher(
    method: str, standardize: bool | str, zoo
) -> None:
    """The loss of a teacher ten times as large, and shifted, is the same; without it it is not."""
    spec = zoo.spec("resnet8x4", "resnet32x4")
    student, teacher = zoo.outputs(spec.student, grad=True), zoo.outputs(spec.teacher)
    other = teacher._replace(
        maps=tuple(10 * x + 7 for x in teacher.maps),
        embedding=10 * teacher.embedding + 7,
        preactivations=tuple(10 * x + 7 for x in teacher.preactivations),
    )
    meta = BatchMeta(torch.tensor([3, 1, 7, 12]), torch.tensor([0, 2, 2, 5]))

    def loss(outputs: Any, value: bool | str) -> Tensor:
        torch.manual_seed(1)
        settings = {method: {"standardize": value}}
        term = build_terms(parse_method(method, settings), [spec])[method]
        return term.loss(term.projector(student, (outputs,)), meta)

    found = loss(teacher, standardize)
    found.backward()
    reached = [x.grad for x in (*student.maps, student.embedding) if x.grad is not None]
    assert found.isfinite() and any(grad.any() for grad in reached)
    exact = 1e-4 if standardize is True else 2e-2  # vectors of one covariance have no sign of their own
    torch.testing.assert_close(loss(other, standardize), found.detach(), rtol=exact, atol=exact)
    assert abs(loss(other, False) - loss(teacher, False)).item() > 1e-3


def test_off_where_it_is_not_published_and_named_if_wrong(zoo) -> None:
    spec = zoo.spec("resnet8x4", "resnet32x4")
    for method in STANDARDIZED:
        parts = [x for x in METHODS[method](spec).projector.modules() if isinstance(x, Standardize)]
        assert bool(parts) == (method == "cosine"), method
        with pytest.raises(ValueError, match="standardize must be True, False or 'phi-s', got 'whiten'"):
            METHODS[method](spec, standardize="whiten")
