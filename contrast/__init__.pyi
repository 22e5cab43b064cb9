from .checks import check_positive
from .config import ContrastConfig, Objective, maps_state_bytes
from .crd import CRDLoss
from .distributed import average, equal_rows, gather, gather_with_gradient, rows_of_ranks
from .heads import CriticHeads, normalize
from .instance import InstanceContrast
from .memory import FeatureQueue, MemoryBank
from .monitor import Monitor
from .native import has_native_gather
from .objectives import infonce, nce, relational
from .spatial import DenseContrast, LocalGlobalContrast

__all__ = [
    "CRDLoss",
    "ContrastConfig",
    "CriticHeads",
    "DenseContrast",
    "FeatureQueue",
    "InstanceContrast",
    "LocalGlobalContrast",
    "MemoryBank",
    "Monitor",
    "Objective",
    "average",
    "check_positive",
    "equal_rows",
    "gather",
    "gather_with_gradient",
    "has_native_gather",
    "infonce",
    "maps_state_bytes",
    "nce",
    "normalize",
    "relational",
    "rows_of_ranks",
]
