"""The one training loop, with what keeps a training whole: order, checkpoints, signals, tracking.

The only room that knows accelerate.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
