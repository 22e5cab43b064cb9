"""The shared core: critic heads, memory, negatives, objectives, and the losses made of them."""

from .crd import CRDLoss
from .heads import CriticHeads, normalize
from .instance import InstanceContrast
from .memory import FeatureQueue, MemoryBank
from .objectives import infonce, nce
from .spatial import DenseContrast, LocalGlobalContrast

__all__ = [
    "CRDLoss",
    "CriticHeads",
    "DenseContrast",
    "FeatureQueue",
    "InstanceContrast",
    "LocalGlobalContrast",
    "MemoryBank",
    "infonce",
    "nce",
    "normalize",
]
