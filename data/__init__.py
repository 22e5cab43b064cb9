"""Data sets and paired modalities; every batch carries the stable index of its samples."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
