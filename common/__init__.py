"""What every room may use: whole files, their manifest, errors for a person, the nearest names. No torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
