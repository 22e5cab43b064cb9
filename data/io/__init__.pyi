from .arrays import Array, decode_array
from .decode import (
    MAX_INDOOR_METRES,
    Size,
    check_label,
    check_size,
    decode_image,
    one_thread_in_workers,
    require_pixels,
    resize_color,
    resize_depth,
    resize_label,
)
from .files import SUFFIXES, load_array, read_file
from .hdf5 import (
    LazyHDF5,
    channels_first,
    check_readable,
    find_item,
    is_encoded,
    list_contents,
    open_hdf5,
    require_dataset,
)
from .hdf5_values import read_dataset, read_names, read_number, texts
from .listing import list_files, some
from .mapped import ArrayWriter, MappedArray
from .stored import decode_label
from .values import among, invalid_numbers, stored_numbers, values_of

__all__ = [
    "MAX_INDOOR_METRES",
    "SUFFIXES",
    "Array",
    "ArrayWriter",
    "LazyHDF5",
    "MappedArray",
    "Size",
    "among",
    "channels_first",
    "check_label",
    "check_readable",
    "check_size",
    "decode_array",
    "decode_image",
    "decode_label",
    "find_item",
    "invalid_numbers",
    "is_encoded",
    "list_contents",
    "list_files",
    "load_array",
    "one_thread_in_workers",
    "open_hdf5",
    "read_dataset",
    "read_file",
    "read_names",
    "read_number",
    "require_dataset",
    "require_pixels",
    "resize_color",
    "resize_depth",
    "resize_label",
    "some",
    "stored_numbers",
    "texts",
    "values_of",
]
