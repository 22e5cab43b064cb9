"""Files: decoding, archives, HDF5, conversion."""
