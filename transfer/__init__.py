"""The one transfer step, its teachers' targets, live and cached, and the base of the pipelines."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
