"""KD, hints and attention against plain loops, derivatives and identities."""

import math

import pytest
import torch
from torch import Tensor

from crdkit.distillers.functional import attention, fitnet, kd, pixel_kd


def loop_kd(student: list[float], teacher: list[float], temperature: float) -> float:
    def softmax(logits: list[float]) -> list[float]:
        powers = [math.exp(z / temperature) for z in logits]
        return [p / sum(powers) for p in powers]

    pairs = zip(softmax(teacher), softmax(student), strict=True)
    return temperature**2 * sum(t * math.log(t / s) for t, s in pairs)


def test_kd_is_its_formula() -> None:
    student, teacher = torch.randn(3, 4).double(), torch.randn(3, 4).double()
    for temperature in (0.5, 1.0, 4.0):
        expected = sum(
            loop_kd(s, t, temperature) for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
        )
        assert float(kd(student, teacher, temperature=temperature)) == pytest.approx(expected / 3, rel=1e-12)


def test_pixel_kd_is_its_formula_over_the_masked_positions() -> None:
    student, teacher = torch.randn(2, 3, 2, 4).double(), torch.randn(2, 3, 2, 4).double()
    mask = torch.rand(2, 2, 4) > 0.4
    places = [(b, i, j) for b in range(2) for i in range(2) for j in range(4)]
    at = {
        (b, i, j): loop_kd(student[b, :, i, j].tolist(), teacher[b, :, i, j].tolist(), 2.0)
        for b, i, j in places
    }
    inside = [value for place, value in at.items() if mask[place]]
    assert float(pixel_kd(student, teacher, temperature=2.0)) == pytest.approx(
        sum(at.values()) / 16, rel=1e-12
    )
    masked = pixel_kd(student, teacher, temperature=2.0, mask=mask)
    assert float(masked) == pytest.approx(sum(inside) / len(inside), rel=1e-12)


def test_pixel_kd_on_one_position_is_kd() -> None:
    student, teacher = torch.randn(5, 7), torch.randn(5, 7)
    torch.testing.assert_close(
        pixel_kd(student[..., None, None], teacher[..., None, None]), kd(student, teacher)
    )


def test_what_the_mask_hides_has_no_gradient_even_when_not_finite() -> None:
    student = torch.randn(1, 3, 2, 2, requires_grad=True)
    teacher = torch.randn(1, 3, 2, 2)
    mask = torch.tensor([[[True, False], [True, True]]])
    teacher[0, 0, 0, 1] = torch.nan
    pixel_kd(student, teacher, mask=mask).backward()
    assert student.grad is not None
    assert student.grad[0, :, 0, 1].abs().max() == 0 and student.grad[0, :, 0, 0].abs().min() > 0
    nothing = pixel_kd(student, teacher, mask=torch.zeros_like(mask))
    assert nothing.item() == 0


def loop_attention(feature_map: Tensor) -> list[float]:
    channels, height, width = feature_map.shape
    energy = [
        sum(float(feature_map[c, i, j]) ** 2 for c in range(channels)) / channels
        for i in range(height)
        for j in range(width)
    ]
    norm = math.sqrt(sum(e * e for e in energy))
    return [e / norm for e in energy]


def test_attention_is_its_formula() -> None:
    student, teacher = torch.randn(2, 3, 2, 3).double(), torch.randn(2, 5, 2, 3).double()
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        total += sum((a - b) ** 2 for a, b in zip(loop_attention(s), loop_attention(t), strict=True))
    assert float(attention([student], [teacher])) == pytest.approx(total / (2 * 6), rel=1e-12)


def test_attention_pools_the_larger_map_on_each_axis() -> None:
    wide, high = torch.randn(2, 3, 2, 8), torch.randn(2, 4, 6, 4)
    pooled_wide = torch.stack([wide[..., 2 * j : 2 * j + 2].mean(-1) for j in range(4)], -1)
    pooled_high = torch.stack([high[:, :, 3 * i : 3 * i + 3].mean(2) for i in range(2)], 2)
    torch.testing.assert_close(attention([wide], [high]), attention([pooled_wide], [pooled_high]))


def test_derivatives() -> None:
    student, teacher = (torch.randn(2, 3, 4, 4).double().requires_grad_() for _ in range(2))
    flat_s, flat_t = (torch.randn(3, 4).double().requires_grad_() for _ in range(2))
    smaller = torch.randn(2, 2, 2, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(kd, (flat_s, flat_t))
    assert torch.autograd.gradcheck(pixel_kd, (student, teacher))
    assert torch.autograd.gradcheck(fitnet, (student, teacher))
    assert torch.autograd.gradcheck(lambda s, t: attention([s], [t]), (student, smaller))


def test_identities() -> None:
    x, y = torch.randn(4, 6), torch.randn(4, 6)
    m, n = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5)
    order, classes = torch.randperm(4), torch.randperm(6)
    assert float(kd(x, x)) == pytest.approx(0, abs=1e-6)
    assert float(attention([m], [m])) == 0 and float(fitnet(m, m)) == 0
    assert float(kd(x, y)) > 0
    # the order of images or classes, and a constant on all logits, are none of the loss's business
    torch.testing.assert_close(kd(x[order], y[order]), kd(x, y))
    torch.testing.assert_close(kd(x[:, classes], y[:, classes]), kd(x, y))
    torch.testing.assert_close(kd(x + 3, y - 2), kd(x, y))
    torch.testing.assert_close(fitnet(m[order], n[order]), fitnet(m, n))
    # attention does not see scale or channels, and sums over pairs
    torch.testing.assert_close(attention([3 * m.flip(1)], [n]), attention([m], [n]))
    torch.testing.assert_close(
        attention([m, x[:, :, None, None]], [n, y[:, :, None, None]]), attention([m], [n])
    )


def test_kd_at_high_temperature_is_matching_of_centered_logits() -> None:
    # Hinton et al., 2015, Eq. 4: T² KL tends to the squared difference over 2C.
    x, y = torch.randn(4, 6).double(), torch.randn(4, 6).double()
    centered = (x - x.mean(1, keepdim=True)) - (y - y.mean(1, keepdim=True))
    expected = centered.square().sum(1).mean() / (2 * 6)
    torch.testing.assert_close(kd(x, y, temperature=1e4), expected, rtol=1e-3, atol=0)


def test_extreme_logits_stay_finite() -> None:
    x = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = kd(x, -x.detach(), temperature=1.0)
    loss.backward()
    assert torch.isfinite(loss) and x.grad is not None and torch.isfinite(x.grad).all()
    dead = torch.zeros(2, 3, 4, 4, requires_grad=True)
    attention([dead], [torch.randn(2, 3, 4, 4)]).backward()
    assert dead.grad is not None and torch.isfinite(dead.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(dtype: torch.dtype) -> None:
    big = (300 * torch.randn(2, 3, 4, 4)).to(dtype)  # squares beyond the range of float16
    other = torch.randn(2, 3, 4, 4).to(dtype)
    for loss in (pixel_kd, fitnet, lambda s, t: attention([s], [t])):
        assert loss(big, other).dtype == torch.float32
        torch.testing.assert_close(loss(big, other), loss(big.float(), other.float()))


def test_bad_arguments_are_named() -> None:
    x, m = torch.randn(2, 3), torch.randn(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"temperature.*-0\.1"):
        kd(x, x, temperature=-0.1)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        kd(x, torch.randn(2, 4))
    with pytest.raises(ValueError, match=r"\(3, 4, 4\)"):
        kd(m[0], m[0])
    with pytest.raises(ValueError, match=r"got \(2, 3, 4, 4\) and \(2, 3, 2, 2\)"):
        pixel_kd(m, m[..., :2, :2])
    with pytest.raises(ValueError, match=r"mask.*\(2, 4, 4\).*torch\.float32"):
        pixel_kd(m, m, mask=torch.ones(2, 4, 4))
    with pytest.raises(ValueError, match=r"same shape \(B, C, H, W\)"):
        fitnet(m, m[:, :2])
    with pytest.raises(ValueError, match="student_maps"):
        attention(m, [m])
    with pytest.raises(ValueError, match=r"2.*1"):
        attention([m, m], [m])
    with pytest.raises(ValueError, match=r"0.*0"):
        attention([], [])
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        attention([m], [m[:1]])
