"""Networks that leave a run: described, saved, loaded, asked for predictions, exported."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
