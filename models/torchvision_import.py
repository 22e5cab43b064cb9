"""torchvision's models without torch's compiler, which they import: 1.5 s that few runs need."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo.utils"
"""Of which `torchvision.ops` takes one function, for the deterministic RoI-align of detectors on a GPU."""
NEEDED_LATER = "is_compile_supported"


def torchvision_models() -> Any:
    """The module `torchvision.models`."""
    if "torchvision" in sys.modules or COMPILER in sys.modules:
        return import_module("torchvision.models")
    sys.modules[COMPILER] = stand_in = _StandIn(COMPILER)
    try:
        return import_module("torchvision.models")
    finally:
        stand_in.leave()


class _StandIn(ModuleType):
    """In the compiler's place while torchvision is imported: the one function is looked up when it is called;
    whoever asks for anything else has the real module in its place."""

    def leave(self) -> None:
        """Let the next import find the real module."""
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]

    def __getattr__(self, name: str) -> Any:
        if name == NEEDED_LATER:
            return _is_compile_supported
        if name.startswith("__"):  # the import system asks
            raise AttributeError(name)
        self.leave()
        return getattr(import_module(COMPILER), name)


def _is_compile_supported(device_type: str) -> Any:
    return getattr(import_module(COMPILER), NEEDED_LATER)(device_type)
