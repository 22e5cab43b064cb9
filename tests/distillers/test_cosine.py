"""Cosine distance: naive loops, gradcheck, identities, what it reads; and beside a contrast."""

import pytest
import torch

from crdkit.distillers import METHODS, BatchMeta, build_terms, parse_method
from crdkit.distillers.functional import cosine


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 2, 4), (1, 1), (1, 4, 1, 1)])
def test_equals_naive_loops(shape: tuple[int, ...], naive) -> None:
    student, teacher = torch.randn(*shape).double(), torch.randn(*shape).double()
    rows = [x.movedim(1, -1).reshape(-1, shape[1]).tolist() for x in (student, teacher)]
    expected = sum(1 - naive.dot(naive.unit(s), naive.unit(t)) for s, t in zip(*rows, strict=True))
    assert cosine(student, teacher).item() == pytest.approx(expected / len(rows[0]))
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: cosine(s, teacher), (student,))


def test_identities_and_edges() -> None:
    x = torch.randn(4, 5, 2, 2)
    assert cosine(x, 3 * x).item() == pytest.approx(0, abs=1e-6)
    assert cosine(x, -x).item() == pytest.approx(2)
    order = torch.randperm(4)
    y = torch.randn(4, 5, 2, 2)
    torch.testing.assert_close(cosine(x[order], y[order]), cosine(x, y))
    zero = torch.zeros(2, 5, requires_grad=True)
    loss = cosine(zero, torch.randn(2, 5))
    loss.backward()
    assert loss.item() == 1 and zero.grad.isfinite().all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cosine(x.bfloat16(), y.bfloat16()).dtype == torch.float32
    with pytest.raises(ValueError, match="same shape"):
        cosine(torch.randn(2, 5), torch.randn(2, 4))


def test_the_map_or_the_embedding_is_read(zoo) -> None:
    spec = zoo.spec("resnet8x4", "vgg13")  # last maps of 8 × 8 and 4 × 4
    student, teacher = zoo.outputs(spec.student), zoo.outputs(spec.teacher)
    ours, theirs = METHODS["cosine"](spec).projector(student, teacher)
    assert ours.shape == theirs.shape == (4, 512 + 512 + 256, 8, 8)
    whole = METHODS["cosine"](spec, hint=None)
    assert whole.projector.reads == {"embedding"}
    ours, theirs = whole.projector(student, teacher)
    assert ours.shape == theirs.shape == (4, 512)
    ours, theirs = METHODS["cosine"](spec, hint=1, hypercolumn=False).projector(student, teacher)
    assert ours.shape == theirs.shape == (4, 128, 32, 32)
    with pytest.raises(ValueError, match=r"cosine.*reads map 9"):
        METHODS["cosine"](spec, hint=9)


@pytest.mark.parametrize("method", ["crd-dense+cosine", "crd+0.5*cosine"])
def test_beside_a_contrast(method: str, zoo) -> None:
    spec = zoo.spec("resnet8x4", "vgg13")
    terms = build_terms(parse_method(method), [spec])
    assert terms["cosine"].weight == (10 if "0.5" not in method else 5)
    student, teacher = zoo.outputs(spec.student, grad=True), zoo.outputs(spec.teacher)
    meta = BatchMeta(torch.arange(4), None)
    total = sum(term.weight * term.loss(term.projector(student, (teacher,)), meta) for term in terms.values())
    total.backward()
    assert total.isfinite() and student.maps[-1].grad.any()
