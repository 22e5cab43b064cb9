"""What the three pipelines share: the trainings of a run, the checks before it, its stages and results."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
