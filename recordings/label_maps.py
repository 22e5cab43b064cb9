"""Label maps of a whole part: classes that nobody sees, masks whose foreground would be ignored."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..data import IGNORE, DataError
from ..data.io.arrays import Array
from ..data.io.listing import some


def count_labels(dataset: Any) -> Array:
    """(256,) int64: pixels of each label in a data set of label maps; only `label` is read, if it can be.

    From `PairedTensors` at once, else sample by sample.
    """
    source = dataset.select("label") if hasattr(dataset, "select") else dataset
    tensors = getattr(source, "tensors", None)
    rows = tensors["label"] if tensors is not None else (source[row]["label"] for row in range(len(source)))
    counts = np.zeros(IGNORE + 1, np.int64)
    for label in rows:
        counts += torch.bincount(label.flatten().long(), minlength=IGNORE + 1).cpu().numpy()
    return counts


def check_label_parts(
    parts: Mapping[str, Any], num_classes: int, class_names: Sequence[str] = ()
) -> list[str]:
    """Warnings about the label maps of the parts, the first of which is trained on.

    Args:
        parts: name to a data set whose samples have `label` (H, W).
        class_names: by class; numbers if absent.

    Returns:
        A sentence if classes have no pixel in the first part, naming them, and one if those are judged.

    Raises:
        DataError: two-valued masks of 0 and 255, whose foreground would be ignored; no pixel that counts.
    """
    counts = {part: count_labels(dataset) for part, dataset in parts.items()}
    name, first = next(iter(counts.items()))
    present = set(np.flatnonzero(sum(counts.values())))
    if present == {0, IGNORE}:
        share = first[IGNORE] / max(1, first.sum())
        raise DataError(
            f"the label maps hold 0 and {IGNORE} alone ({IGNORE}: {share:.0%} of the pixels of {name}); "
            f"{IGNORE} is ignored, so one class would be left, always right. If these are masks, say "
            "label.values=0,255: then 255 is class 1"
        )
    if not first[:IGNORE].any():
        raise DataError(f"the label maps of {name} have no pixel that counts: all are {IGNORE}, ignored")
    absent = [c for c in range(num_classes) if not first[c]]
    if not absent:
        return []
    names = class_names if len(class_names) >= num_classes else [str(c) for c in range(num_classes)]
    warnings = [f"no pixel of {name} is of {_classes(names, absent)}: nobody can learn them"]
    for part, found in counts.items():
        if judged := [c for c in absent if found[c]]:
            warnings.append(f"{part} has pixels of {_classes(names, judged)}, of which {name} has none")
    return warnings


def _classes(names: Sequence[str], numbers: Sequence[int]) -> str:
    return f"class{'es' if len(numbers) > 1 else ''} {some([names[c] for c in numbers])}"
