"""The fused kernel: plans and blocks agree, gradients, memory, precision."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from crdkit.contrast import infonce, nce
from crdkit.contrast.objectives import Rule
from crdkit.contrast.relations import contrast_relations
from crdkit.contrast.scores import contrast

RULE = Rule("nce", 0.2, shift=0.5)
RULES = {
    "nce": (RULE, partial(nce, temperature=0.2, log_z=1.0, log_ratio=-0.5)),
    "infonce": (Rule("infonce", 0.2), partial(infonce, temperature=0.2)),
    "weighted-nce": (
        Rule("nce", 0.2, 0.5, 3.5),
        partial(nce, temperature=0.2, log_z=0.5, log_ratio=0.0, weight=3.5),
    ),
    "weighted-infonce": (Rule("infonce", 0.2, weight=3.5), partial(infonce, temperature=0.2, weight=3.5)),
}
"""The closed form, and the pure function that it must agree with."""
COLUMNS = torch.tensor([[0, 3, 3, 5], [1, 0, 5, 2], [4, 4, 4, 4]])


def plain(losses: partial[Tensor], z: Tensor, positive: Tensor, noise: Tensor, columns: Tensor) -> Tensor:
    """The textbook form: gather (B, K, d), multiply, judge."""
    negative = torch.einsum("bd,bkd->bk", z, noise[columns])
    return losses((z * positive).sum(1), negative).mean()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("block", [1, 7, 2**20])
@pytest.mark.parametrize("product", [True, False], ids=["product", "gather"])
def test_plans_and_blocks_agree_with_the_plain_form(
    name: str,
    block: int,
    product: bool,
    unit: Callable[..., Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crdkit.contrast.scores._BLOCK", {"cpu": block})
    monkeypatch.setattr("crdkit.contrast.scores._PRODUCT_ANCHORS", 1)
    monkeypatch.setattr("crdkit.contrast.scores.prefers_product", lambda rows, draws: product)
    rule, losses = RULES[name]
    z, positive, noise = unit(3, 4), unit(3, 4), unit(6, 4).detach()
    expected = plain(losses, z, positive, noise, COLUMNS)
    expected_grads = torch.autograd.grad(expected, (z, positive))
    value = contrast(rule, z, positive, noise, columns=COLUMNS)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, (z, positive)), expected_grads)


@pytest.mark.parametrize("rule", [rule for rule, _ in RULES.values()], ids=RULES)
@pytest.mark.parametrize("candidate_ids", [None, torch.tensor([0, 7, 2, 2, -1, 5])], ids=["rows", "owners"])
def test_gradcheck_of_all_sides(
    rule: Rule,
    candidate_ids: Tensor | None,
    unit: Callable[..., Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crdkit.contrast.scores._BLOCK", {"cpu": 12})
    monkeypatch.setattr("crdkit.contrast.scores._PRODUCT_ANCHORS", 1)
    owner = torch.tensor([2, 0, 5])

    def value(z: Tensor, positive: Tensor, noise: Tensor) -> Tensor:
        return contrast(rule, z, positive, noise, anchor_ids=owner, candidate_ids=candidate_ids)

    assert torch.autograd.gradcheck(value, (unit(3, 4), unit(3, 4), unit(6, 4)))


@pytest.mark.parametrize("product", [True, False], ids=["product", "gather"])
def test_gradcheck_of_drawn_rows(
    product: bool, unit: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crdkit.contrast.scores.prefers_product", lambda rows, draws: product)
    noise = unit(6, 4).detach()
    assert torch.autograd.gradcheck(
        lambda z, positive: contrast(RULE, z, positive, noise, columns=COLUMNS), (unit(3, 4), unit(3, 4))
    )


def test_the_bank_may_change_before_the_backward_pass(unit: Callable[..., Tensor]) -> None:
    z, positive, noise = unit(3, 4), unit(3, 4).detach(), unit(6, 4).detach()
    (expected,) = torch.autograd.grad(contrast(RULE, z, positive, noise, columns=COLUMNS), z)
    value = contrast(RULE, z, positive, noise, columns=COLUMNS)
    noise.zero_()
    positive.zero_()
    torch.testing.assert_close(torch.autograd.grad(value, z)[0], expected)


class LargestTensor(TorchDispatchMode):
    """Notes the size in elements of the largest storage that any operation returns, but for those given."""

    def __init__(self, *given: Tensor) -> None:
        super().__init__()
        self.given = {x.untyped_storage().data_ptr() for x in given}
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in self.given:
                self.numel = max(self.numel, x.untyped_storage().nbytes() // x.element_size())
        return result


@pytest.mark.parametrize("num_rows", [100, 5000], ids=["product", "gather"])
def test_no_array_exceeds_a_block(num_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, draws, dim, block = 16, 64, 32, 4096
    monkeypatch.setattr("crdkit.contrast.scores._BLOCK", {"cpu": block})
    monkeypatch.setattr("crdkit.contrast.native.fits", lambda z, noise: False)
    z, positive, noise = (
        torch.randn(batch, dim, requires_grad=True),
        torch.randn(batch, dim),
        torch.randn(num_rows, dim),
    )
    columns = torch.randint(num_rows, (batch, draws))
    with LargestTensor(noise) as largest:
        contrast(RULE, z, positive, noise, columns=columns).backward()
    assert largest.numel <= block < batch * draws * dim
    for selection in ({"columns": columns}, {}):
        with LargestTensor(noise) as largest:
            contrast_relations(
                z, positive, noise, temperature=0.1, teacher_temperature=0.05, **selection
            ).backward()
        assert largest.numel <= block


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_fp32_under_autocast(dtype: torch.dtype, unit: Callable[..., Tensor]) -> None:
    z, positive, noise = (unit(n, 4).detach().float() for n in (3, 3, 6))
    z.requires_grad_()
    expected = contrast(RULE, z, positive, noise, columns=COLUMNS)
    with torch.autocast("cpu", dtype=dtype):
        value = contrast(RULE, z, positive, noise, columns=COLUMNS)
    assert value.dtype == torch.float32 and torch.equal(value, expected)
    half = contrast(RULE, z.to(dtype), positive.to(dtype), noise, columns=COLUMNS)
    assert half.dtype == torch.float32


def test_drawn_rows_that_ask_for_gradients_are_refused(unit: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="constant"):
        contrast(RULE, unit(3, 4), unit(3, 4), unit(6, 4), columns=COLUMNS)
