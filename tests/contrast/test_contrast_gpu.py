"""The gather of GPUs, in Triton's interpreter on a CPU: PyTorch's numbers, or PyTorch in its place."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from crdkit.contrast import gpu
from crdkit.contrast.objectives import NegativeSums, Rule

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)
CHECK = """
import torch
from crdkit.contrast import gpu
from crdkit.contrast.objectives import NegativeSums, Rule

torch.manual_seed(0)
assert gpu.has_gather(torch.device("cpu"))
for rule in (Rule("nce", 0.07, 9.7), Rule("nce", 0.5, torch.tensor(0.0)), Rule("infonce", 0.07)):
    for draws, dim, dtype in ((1, 1, torch.float32), (1500, 24, torch.float32), (1030, 128, torch.bfloat16)):
        z, noise = torch.randn(3, dim), torch.randn(50, dim)
        z, noise = z / z.norm(dim=1, keepdim=True), (noise / noise.norm(dim=1, keepdim=True)).to(dtype)
        columns = torch.randint(50, (3, draws))
        found, expected = gpu.gathered(rule, z, noise, columns), NegativeSums(rule, z.double())
        rows = noise.double()[columns]
        weights = expected.weigh(torch.einsum("bd,bkd->bk", z.double(), rows))
        pull = torch.einsum("bk,bkd->bd", weights, rows)
        torch.testing.assert_close(found.total.double(), expected.total, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.pull.double(), pull, rtol=1e-4, atol=1e-5)
        if rule.objective == "infonce":
            torch.testing.assert_close(found.top.double(), expected.top, rtol=1e-5, atol=1e-6)
print("agrees")
"""


@needs_triton
def test_it_agrees_with_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True)
    assert done.stdout.strip() == "agrees", done.stderr


COMPILE = """
import triton
from crdkit.contrast.gpu_kernel import noise_of_draws
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

places = dict.fromkeys(("z", "bank", "shift", "totals", "tops", "pulls"), "*fp32")
types = {**places, "bank": "*bf16", "columns": "*i64", "draws": "i32", "dim": "i32", "scale": "fp32"}
constants = {"DIM": 128, "ROWS": 32, "DRAWS": 1024, "INFONCE": False}
signature = {name: types.get(name, "constexpr") for name in noise_of_draws.arg_names}
source = ASTSource(noise_of_draws, signature=signature, constexprs=constants)
made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
assert "fma.rn.f32" in made.asm["ptx"] and ".tf32" not in made.asm["ptx"]
print("compiles")
"""


@needs_triton
def test_it_compiles_for_a_gpu_that_is_not_here() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True)
    assert done.stdout.strip() == "compiles", done.stderr


@pytest.mark.parametrize("broken", ["switch", "triton", "numbers", "compiler"])
def test_without_it_pytorch_computes(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> NegativeSums:
        raise RuntimeError("no device")

    def wrong(rule: Rule, z: torch.Tensor, *_: object) -> NegativeSums:
        return NegativeSums(rule, z)

    gpu.has_gather.cache_clear()
    if broken == "switch":
        monkeypatch.setenv(gpu.SWITCH, "0")
    elif broken == "triton":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
        monkeypatch.setattr(gpu, "gathered", wrong if broken == "numbers" else fails)
    assert not gpu.has_gather(torch.device("cpu"))
    gpu.has_gather.cache_clear()
    assert not gpu.fits(torch.zeros(2, 3), torch.zeros(4, 3))  # on a CPU there is the kernel in C
