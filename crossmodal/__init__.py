"""Cross-modal transfer: a network of one modality teaches a network of another, from paired samples."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
