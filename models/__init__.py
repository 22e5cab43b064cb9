"""Networks that return `Outputs`, adapters that make any module one, and weights from files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
