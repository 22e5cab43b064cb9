"""The contrast in C: PyTorch's numbers, on any machine with a compiler; and PyTorch where there is none."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from crdkit.contrast import ContrastConfig, InstanceContrast, native
from crdkit.contrast.objectives import Rule
from crdkit.contrast.scores import contrast, log_sum_exp

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler"
)
RULES = {"nce": Rule("nce", 0.07, 9.7), "near-zero": Rule("nce", 0.5, 0.0), "infonce": Rule("infonce", 0.07)}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test looks for the kernel anew."""
    monkeypatch.delenv(native.SWITCH, raising=False)
    native.kernel.cache_clear()
    yield
    native.kernel.cache_clear()


def drawn(rows: int, draws: int, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    z, positive, noise = (torch.nn.functional.normalize(torch.randn(n, dim), dim=1) for n in (5, 5, rows))
    return z, positive, noise.to(dtype), torch.randint(rows, (5, draws))


def value_and_gradients(
    rule: Rule, z: Tensor, positive: Tensor, noise: Tensor, columns: Tensor
) -> list[Tensor]:
    given = [z.clone().requires_grad_(), positive.clone().requires_grad_()]
    value = contrast(rule, given[0], given[1], noise, columns=columns)
    return [value.detach(), *torch.autograd.grad(value, given)]


@needs_compiler
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("dtype", native.TYPES, ids=str)
@pytest.mark.parametrize(("draws", "dim"), [(1, 1), (17, 13), (256, 64), (1000, 128)])
def test_it_agrees_with_double_precision(
    rule: Rule, dtype: torch.dtype, draws: int, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, positive, noise, columns = drawn(3000, draws, dim, dtype)
    assert native.kernel() is not None and native.fits(z, noise)
    found = value_and_gradients(rule, z, positive, noise, columns)
    monkeypatch.setattr(native, "fits", lambda *_: False)
    wide = [x.double() for x in (z, positive, noise)]
    for mine, other in zip(found, value_and_gradients(rule, *wide, columns), strict=True):
        assert (mine - other).abs().max() <= 1e-5 * other.abs().max()


@needs_compiler
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("rows", [3, 300, 5000])
@pytest.mark.parametrize("owners", ["none", "rows", "named"])
@pytest.mark.parametrize("learns", [False, True], ids=["bank", "batch"])
def test_products_agree_with_double_precision(
    rule: Rule, rows: int, owners: str, learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, positive, noise, _ = drawn(rows, 1, 16, torch.float32)
    selection = {
        "none": {},
        "rows": {"anchor_ids": torch.arange(5) % rows},
        "named": {"anchor_ids": torch.arange(5), "candidate_ids": torch.randint(-1, 7, (rows,))},
    }[owners]

    def found(*given: Tensor) -> list[Tensor]:
        own = [x.clone().requires_grad_() for x in given[: 3 if learns else 2]]
        value = contrast(rule, own[0], own[1], own[2] if learns else given[2], **selection)
        return [value.detach(), *torch.autograd.grad(value, own)]

    mine = found(z, positive, noise)
    monkeypatch.setattr(native, "fits", lambda *_: False)
    for one, other in zip(mine, found(z.double(), positive.double(), noise.double()), strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


@needs_compiler
def test_large_scores_do_not_overflow() -> None:
    z, _, noise, columns = drawn(300, 600, 16, torch.float32)
    for rule in (Rule("infonce", 0.001), Rule("nce", 0.001, -50.0)):
        found = native.gathered(rule, 3 * z, noise, columns)
        scores = (3 * z).double() @ noise.double().T
        scores = scores.gather(1, columns) / rule.temperature
        if rule.objective == "infonce":
            expected = torch.logsumexp(scores, dim=1)
            actual = found.top + found.total.log()
        else:
            expected = torch.nn.functional.softplus(scores + 50).sum(dim=1)
            actual = found.total
        assert found.pull.isfinite().all()
        torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=0)


@needs_compiler
@pytest.mark.parametrize(("anchors", "rows", "dim"), [(1, 1, 1), (32, 8, 4), (33, 1025, 13), (100, 2100, 30)])
@pytest.mark.parametrize("dtype", native.TYPES, ids=str)
def test_all_rows_at_the_edges_of_its_blocks(anchors: int, rows: int, dim: int, dtype: torch.dtype) -> None:
    z, noise = torch.randn(anchors, dim), torch.randn(rows, dim).to(dtype)
    owner, candidate_ids = torch.randint(5, (anchors,)), torch.randint(-1, 5, (rows,))
    weights = torch.empty(rows, anchors)
    found = native.multiplied(RULES["near-zero"], z, noise, owner, candidate_ids, weights=weights)
    scores = z.double() @ noise.double().T / 0.5
    scores[(owner.unsqueeze(1) == candidate_ids) | (candidate_ids < 0)] = -torch.inf
    torch.testing.assert_close(weights.T.double(), scores.sigmoid(), rtol=1e-4, atol=1e-6)
    expected = torch.nn.functional.softplus(scores).sum(dim=1)
    torch.testing.assert_close(found.total.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.pull.double(), scores.sigmoid() @ noise.double(), rtol=1e-4, atol=1e-4)


@needs_compiler
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_nan_is_not_lost(rule: Rule) -> None:
    z, _, noise, columns = drawn(300, 100, 16, torch.float32)
    noise[columns[1, 40]] = torch.nan
    met = (columns == columns[1, 40]).any(dim=1)
    drawn_ones = native.gathered(rule, z, noise, columns)
    assert torch.equal(drawn_ones.total.isnan(), met)
    assert torch.equal(drawn_ones.pull.isnan().all(dim=1), met)
    if rule.objective == "nce":
        assert native.multiplied(rule, z, noise, None, None).total.isnan().all()


@needs_compiler
@pytest.mark.parametrize("way", ["drawn", "all"])
def test_the_number_of_threads_changes_no_bit(way: str) -> None:
    z, _, noise, columns = drawn(500, 300, 32, torch.float32)
    if way == "all":
        z = torch.randn(70, 32)
    before = torch.get_num_threads()
    try:
        bits = []
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            found = (
                native.gathered(RULES["nce"], z, noise, columns)
                if way == "drawn"
                else native.multiplied(RULES["nce"], z, noise, torch.arange(70), None)
            )
            bits.append((found.total, found.pull))
    finally:
        torch.set_num_threads(before)
    for total, pull in bits[1:]:
        assert torch.equal(total, bits[0][0]) and torch.equal(pull, bits[0][1])


@needs_compiler
@pytest.mark.parametrize("wrong", [-1, 500])
def test_a_row_that_is_not_there_is_refused(wrong: int) -> None:
    z, _, noise, columns = drawn(500, 30, 8, torch.float32)
    columns[3, 7] = wrong
    with pytest.raises(IndexError):
        native.gathered(RULES["nce"], z, noise, columns)


@needs_compiler
def test_z_of_the_first_batch_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    z, positive, noise, columns = drawn(3000, 100, 32, torch.float32)
    mine = log_sum_exp(z, positive, noise, temperature=0.07, columns=columns)
    monkeypatch.setattr(native, "fits", lambda *_: False)
    for one, other in zip(
        mine, log_sum_exp(z, positive, noise, temperature=0.07, columns=columns), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("broken", ["switch", "compiler", "source", "folder", "numbers"])
def test_without_it_pytorch_computes(broken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if broken == "switch":
        monkeypatch.setenv(native.SWITCH, "0")
    elif broken == "compiler":
        monkeypatch.setenv("PATH", "")
    elif broken == "source":
        (tmp_path / "native.c").write_text("int gather_noise(")
        monkeypatch.setattr(native, "SOURCE", tmp_path / "native.c")
    elif broken == "folder":
        (tmp_path / "crdkit").mkdir()
        (tmp_path / "crdkit").chmod(0o777)
    else:
        monkeypatch.setattr(native, "_is_right", lambda run: False)
    assert native.kernel() is None
    z, positive, noise, columns = drawn(3000, 20, 16, torch.float32)
    value, *gradients = value_and_gradients(RULES["nce"], z, positive, noise, columns)
    assert value.isfinite() and all(gradient.isfinite().all() for gradient in gradients)


@needs_compiler
def test_without_openmp_it_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    z, _, noise, columns = drawn(500, 300, 32, torch.float32)

    def found() -> list[Tensor]:
        one = native.gathered(RULES["nce"], z, noise, columns)
        other = native.multiplied(RULES["nce"], z, noise, torch.arange(5), None)
        return [one.total, one.pull, other.total, other.pull]

    before = found()
    native.kernel.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "THREADED", (("-fno-such-option",), ()))
    assert native.kernel() is not None
    assert all(map(torch.equal, found(), before))


@needs_compiler
def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.kernel() is not None
    (library,) = (tmp_path / "crdkit").iterdir()
    assert library.suffix == ".so" and (tmp_path / "crdkit").stat().st_mode & 0o077 == 0
    native.kernel.cache_clear()
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("compiled again"))
    assert native.kernel() is not None


@pytest.mark.parametrize("negatives", ["uniform", "shared", "all"])
def test_a_memory_in_bf16_gives_nearly_the_same_loss(negatives: str) -> None:
    def loss_of(dtype: str) -> tuple[Tensor, InstanceContrast]:
        torch.manual_seed(1)
        one = InstanceContrast(
            200, ContrastConfig(16, num_negatives=32, negatives=negatives, memory_dtype=dtype)
        )
        assert one.bank_student is not None and one.bank_teacher is not None
        z = torch.nn.functional.normalize(torch.randn(2, 8, 16), dim=2)
        rows = torch.nn.functional.normalize(torch.randn(2, 200, 16), dim=2)
        one.bank_student.rows.copy_(rows[0])
        one.bank_teacher.rows.copy_(rows[1])
        loss = one(z[0].requires_grad_(), z[1], torch.arange(8))
        one.update(torch.arange(8), z[0].detach(), z[1])
        return loss, one

    (wide, first), (narrow, second) = loss_of("float32"), loss_of("bfloat16")
    assert second.bank_student is not None and first.bank_student is not None
    assert second.bank_student.rows.dtype == torch.bfloat16
    torch.testing.assert_close(narrow, wide, rtol=0.02, atol=0)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(
        second.bank_student.rows.float(), first.bank_student.rows, rtol=0.02, atol=0.01
    )
    with pytest.raises(ValueError, match="memory_dtype"):
        InstanceContrast(200, ContrastConfig(memory_dtype="float8"))
