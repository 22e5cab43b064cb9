"""The critic's heads."""

import pytest
import torch

from crdkit.contrast import CriticHeads, normalize


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_unit_vectors_for_features_and_maps(kind: str) -> None:
    heads = CriticHeads(5, 7, 4, kind=kind)
    student, teacher = torch.randn(3, 5, 2, 6), torch.randn(3, 7, 4, 4)
    z_s, z_t = heads(student, teacher)
    assert z_s.shape == (3, 4, 2, 6) and z_t.shape == (3, 4, 4, 4)
    torch.testing.assert_close(z_s.norm(dim=1), torch.ones(3, 2, 6))
    at_position, _ = heads(student[:, :, 1, 3], teacher[:, :, 0, 0])
    torch.testing.assert_close(at_position, z_s[:, :, 1, 3])


def test_normalize_gradcheck() -> None:
    assert torch.autograd.gradcheck(normalize, torch.randn(3, 4, dtype=torch.float64, requires_grad=True))


def test_a_zero_vector_stays_zero_with_a_gradient_of_its_own_size() -> None:
    x = torch.zeros(2, 4, requires_grad=True)
    z = normalize(x)
    (3 * z).sum().backward()
    assert (z == 0).all()
    torch.testing.assert_close(x.grad, torch.full((2, 4), 3.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_unit_length_in_fp32_under_autocast(dtype: torch.dtype) -> None:
    heads = CriticHeads(5, 7, 4)
    with torch.autocast("cpu", dtype=dtype):
        z_s, z_t = heads(torch.randn(3, 5), torch.randn(3, 7))
    assert z_s.dtype == z_t.dtype == torch.float32
    torch.testing.assert_close(z_s.norm(dim=1), torch.ones(3), rtol=1e-6, atol=1e-6)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"kind.*'linear'.*'mlp'.*'conv'"):
        CriticHeads(5, 7, kind="conv")
    with pytest.raises(ValueError, match=r"teacher_dim.*0"):
        CriticHeads(5, 0)
    with pytest.raises(ValueError, match=r"\(3, 5, 2\)"):
        CriticHeads(5, 7)(torch.zeros(3, 5, 2), torch.zeros(3, 7))
