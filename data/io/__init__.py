"""Files and their values: decoding, listing, archives, HDF5, mapped arrays; read by `recordings` too."""
