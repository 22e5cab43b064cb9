"""The hint regressor for every spec of sizes."""

import pytest
import torch
from torch import nn

from crdkit.distillers import FitNetRegressor
from crdkit.distillers.functional import fitnet


@pytest.mark.parametrize(
    ("student", "teacher", "conv", "kernel"),
    [
        ((3, 8, 8), (5, 4, 4), nn.Conv2d, (3, 3)),
        ((3, 15, 20), (5, 8, 10), nn.Conv2d, (3, 3)),
        ((3, 4, 6), (5, 8, 12), nn.ConvTranspose2d, (4, 4)),
        ((3, 8, 8), (5, 8, 8), nn.Conv2d, (1, 1)),
        ((3, 1, 1), (5, 1, 1), nn.Conv2d, (1, 1)),
        ((3, 8, 9), (5, 7, 6), nn.Conv2d, (2, 4)),
        ((3, 30, 40), (5, 4, 5), nn.Conv2d, (1, 1)),
        ((3, 4, 4), (5, 15, 15), nn.Conv2d, (1, 1)),
        ((3, 16, 4), (5, 4, 16), nn.Conv2d, (1, 1)),
    ],
)
def test_reaches_the_teachers_shape(student, teacher, conv: type, kernel: tuple[int, int]) -> None:
    regressor = FitNetRegressor(student, teacher)
    assert type(regressor.conv) is conv and regressor.conv.kernel_size == kernel
    x = torch.randn(2, *student, requires_grad=True)
    hint = regressor(x)
    assert hint.shape == (2, *teacher) and hint.min() == 0
    fitnet(hint, torch.rand(2, *teacher)).backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert all(p.grad is not None for p in regressor.parameters())


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"teacher_shape.*\(C, H, W\).*\(5, 0, 4\)"):
        FitNetRegressor((3, 4, 4), (5, 0, 4))
    with pytest.raises(ValueError, match=r"student_shape.*\(C, H, W\)"):
        FitNetRegressor((3, 4), (5, 4, 4))  # type: ignore[arg-type]
