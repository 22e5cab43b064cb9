"""Sources of paired sensor data: found, paired, surveyed, grouped, split and decoded."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
