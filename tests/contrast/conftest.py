"""The naive references and small batches."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


@pytest.fixture(scope="session")
def naive() -> ModuleType:
    """The module of double loops beside this file."""
    spec = importlib.util.spec_from_file_location("naive", Path(__file__).with_name("naive.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def unit() -> Callable[..., Tensor]:
    """Seeded unit vectors along dim 1, float64, asking for gradients."""
    generator = torch.Generator().manual_seed(0)

    def make(*shape: int) -> Tensor:
        x = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return F.normalize(x, dim=1).requires_grad_()

    return make
