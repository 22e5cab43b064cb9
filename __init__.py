"""crdkit: contrastive representation distillation between models and between modalities.

The public names of `__init__.pyi` are loaded on first use, here and in the rooms that hold configurations, so
that ``import crdkit`` costs milliseconds and a script prints its help without importing torch.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
