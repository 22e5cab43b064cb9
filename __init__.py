"""crdkit: contrastive representation distillation between models and between modalities.

The public names below are loaded on first use, so that ``import crdkit`` costs milliseconds and a
script can print its help without importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contrast import CRDLoss, CriticHeads, DenseContrast, InstanceContrast, LocalGlobalContrast
    from .models import Outputs

__version__ = "0.1.0"

__all__ = [
    "CRDLoss",
    "CriticHeads",
    "DenseContrast",
    "InstanceContrast",
    "LocalGlobalContrast",
    "Outputs",
    "__version__",
]

_ROOM_OF = {
    "CRDLoss": "contrast",
    "CriticHeads": "contrast",
    "DenseContrast": "contrast",
    "InstanceContrast": "contrast",
    "LocalGlobalContrast": "contrast",
    "Outputs": "models",
}
_ROOMS = frozenset(
    {"contrast", "crossmodal", "data", "distillers", "engine", "evaluation", "experiments", "models"}
)


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF:
        value = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
