"""Transfer objectives: pure functions, modules where they have weights, both together as terms."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
