"""What a run leaves for people: results.json, report.html, report.md, and the tables and pictures in them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
