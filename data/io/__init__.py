"""Files and their values: decoding, listing, archives, HDF5, mapped arrays.

Internal to the package: the rooms of crdkit import these names, users take those of `crdkit.data`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
