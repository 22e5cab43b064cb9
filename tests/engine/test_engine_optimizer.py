"""The optimizers without torch's compiler take the steps of torch's own."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crdkit.engine.optimization import without_compiler


def trained(kind: Any, options: dict[str, Any]) -> tuple[list[Tensor], dict[str, Any]]:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), torch.randn(8, 5)
    optimizer = kind(network.parameters(), **options)
    for _ in range(4):
        network(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert torch.is_grad_enabled() and all(p.grad is None for p in network.parameters())
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.add_param_group({"params": nn.Linear(2, 2).parameters()})
    return list(network.parameters()), optimizer.state_dict()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
        (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    ],
)
def test_the_same_bits(kind: Any, options: dict[str, Any]) -> None:
    bare = without_compiler(kind)
    assert bare is not kind, "torch wraps its optimizers in something else now"
    assert issubclass(bare, kind)
    (weights, state), (expected, other) = trained(bare, options), trained(kind, options)
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    assert str(state) == str(other)


def test_what_is_wrapped_otherwise_is_left_alone() -> None:
    class Wrapped(torch.optim.SGD):
        step = torch.no_grad()(torch.optim.SGD.step)  # type: ignore[assignment]

    assert without_compiler(Wrapped) is Wrapped
