"""The objectives as pure functions: naive loops, gradcheck, identities, numerical range."""

import math
from functools import partial
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crdkit.contrast import infonce, nce
from crdkit.contrast.scores import MASKED

TAU = 0.1
OBJECTIVES = {
    "nce": partial(nce, temperature=TAU, log_z=2.0, log_ratio=-1.5),
    "infonce": partial(infonce, temperature=TAU),
}
both = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())


@pytest.fixture
def scores() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.rand, generator=generator, dtype=torch.float64)
    return (draw(5) * 2 - 1).requires_grad_(), (draw(5, 7) * 2 - 1).requires_grad_()


def test_nce_equals_the_ratio_form(naive: ModuleType, scores: tuple[Tensor, Tensor]) -> None:
    pairs = [(p.item(), n.tolist()) for p, n in zip(*scores, strict=True)]
    z, ratio = torch.tensor(2.0).exp().item(), torch.tensor(-1.5).exp().item()
    expected = torch.tensor(naive.nce(pairs, temperature=TAU, z=z, ratio=ratio), dtype=torch.float64)
    torch.testing.assert_close(OBJECTIVES["nce"](*scores), expected, rtol=1e-6, atol=1e-6)


def test_infonce_is_cross_entropy(naive: ModuleType, scores: tuple[Tensor, Tensor]) -> None:
    positive, negative = scores
    pairs = [(p.item(), n.tolist()) for p, n in zip(*scores, strict=True)]
    losses = OBJECTIVES["infonce"](*scores)
    expected = torch.tensor(naive.infonce(pairs, temperature=TAU), dtype=torch.float64)
    torch.testing.assert_close(losses, expected)
    logits = torch.cat([positive.unsqueeze(1), negative], dim=1) / TAU
    target = torch.zeros(5, dtype=torch.int64)
    torch.testing.assert_close(losses, F.cross_entropy(logits, target, reduction="none"))


@both
def test_gradcheck(objective: partial[Tensor], scores: tuple[Tensor, Tensor]) -> None:
    assert torch.autograd.gradcheck(objective, scores)


@both
def test_the_order_of_negatives_is_all_one(objective: partial[Tensor], scores: tuple[Tensor, Tensor]) -> None:
    positive, negative = scores
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    torch.testing.assert_close(objective(positive, negative[:, order]), objective(positive, negative))


@both
def test_weight_stands_for_repeated_columns(
    objective: partial[Tensor], scores: tuple[Tensor, Tensor]
) -> None:
    positive, negative = scores
    torch.testing.assert_close(
        objective(positive, negative, weight=3.0), objective(positive, negative.repeat(1, 3))
    )


@both
def test_masked_pairs_are_absent(objective: partial[Tensor], scores: tuple[Tensor, Tensor]) -> None:
    positive, negative = scores
    mask = torch.zeros(5, 7, dtype=torch.bool)
    mask[:, 4:] = True
    torch.testing.assert_close(
        objective(positive, negative.masked_fill(mask, MASKED)), objective(positive, negative[:, :4])
    )


@both
def test_all_masked_has_a_finite_loss_and_no_negative_gradient(
    objective: partial[Tensor], scores: tuple[Tensor, Tensor]
) -> None:
    negative = torch.full((5, 7), MASKED, dtype=torch.float64, requires_grad=True)
    losses = objective(scores[0], negative)
    losses.sum().backward()
    assert losses.isfinite().all() and (negative.grad == 0).all() and scores[0].grad.isfinite().all()


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_scores_are_judged_in_fp32(objective: partial[Tensor], dtype: torch.dtype) -> None:
    """e^(1/0.07) is 1.6 million; fp16 ends at 65,504."""
    positive, negative = torch.ones(2, dtype=dtype), torch.ones(2, 5, dtype=dtype)
    losses = objective.func(positive, negative, **{**objective.keywords, "temperature": 0.01})
    assert losses.dtype == torch.float32 and losses.isfinite().all()


def test_best_constant_score_has_the_loss_that_the_documentation_names() -> None:
    count, shift = 63, OBJECTIVES["nce"].keywords["log_z"] + OBJECTIVES["nce"].keywords["log_ratio"]
    steps = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    same = steps[:, None].expand(-1, count)
    found = OBJECTIVES["nce"](steps, same)
    best = math.log(count + 1) + count * math.log(1 + 1 / count)
    assert found.min().item() == pytest.approx(best, rel=1e-5)
    assert steps[found.argmin()].item() == pytest.approx(TAU * (shift - math.log(count)), abs=1e-3)
    # InfoNCE is the same wherever the common score is.
    torch.testing.assert_close(
        OBJECTIVES["infonce"](steps, same), torch.full_like(steps, math.log(count + 1))
    )
