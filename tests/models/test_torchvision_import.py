"""torchvision comes without torch's compiler, which is whole for whoever asks for it, then and later."""

import subprocess
import sys

LATER = """
import sys
from crdkit.models.torchvision_import import COMPILER, torchvision_models
models = torchvision_models()
assert not [name for name in sys.modules if name.startswith("torch._dynamo")]
from torchvision.ops import roi_align
assert sys.modules[roi_align.__module__].is_compile_supported("cpu") is True
assert sys.modules[COMPILER].__file__
"""
MEANWHILE = """
import sys
from crdkit.models.torchvision_import import COMPILER, _StandIn
sys.modules[COMPILER] = _StandIn(COMPILER)
from torch._dynamo.utils import counters
assert sys.modules[COMPILER].__file__ and sys.modules[COMPILER].counters is counters
import torch
assert torch.compile(torch.nn.Linear(2, 2), backend="eager")(torch.ones(1, 2)).shape == (1, 2)
"""


def run(source: str) -> None:
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_compiler_is_imported_when_it_is_called() -> None:
    run(LATER)


def test_whoever_asks_for_more_has_the_whole_module() -> None:
    run(MEANWHILE)
