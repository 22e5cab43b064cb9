from . import (
    common,
    compression,
    contrast,
    crossmodal,
    data,
    deploy,
    distillers,
    engine,
    ensemble,
    evaluation,
    experiments,
    models,
    pipelines,
    recordings,
    reports,
    transfer,
)
from .contrast import CRDLoss, CriticHeads, DenseContrast, InstanceContrast, LocalGlobalContrast
from .deploy import load
from .models import Outputs

__version__: str

__all__ = [
    "CRDLoss",
    "CriticHeads",
    "DenseContrast",
    "InstanceContrast",
    "LocalGlobalContrast",
    "Outputs",
    "__version__",
    "common",
    "compression",
    "contrast",
    "crossmodal",
    "data",
    "deploy",
    "distillers",
    "engine",
    "ensemble",
    "evaluation",
    "experiments",
    "load",
    "models",
    "pipelines",
    "recordings",
    "reports",
    "transfer",
]
