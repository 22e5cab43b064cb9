"""The shared core: critic heads, memory, negatives, objectives, and the losses made of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
