"""The pairs that a cross-modal run reads: labeled ones to train and evaluate with, and unlabeled ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..data import DataError, Encoding, join, read_rows, select, subset
from ..engine import Accelerator, from_main
from ..recordings import DataConfig, content_of, load_parts


@dataclass(frozen=True)
class Samples:
    """Pairs in three parts, those that there are; each is a data set of its modalities and, where a sample
    has labels, `label`."""

    train: Any
    """Trains the student's last stage, and teachers that see labels; None if all training pairs are in
    `unlabeled`."""
    test: Any
    """Held out: judges what was trained with labels, and how well the modalities are aligned. None if
    nothing is."""
    num_classes: int
    class_names: tuple[str, ...]
    unlabeled: Any = None
    """Read by the transfer alone, beside `train`."""
    group: Tensor | None = None
    """The recording or scene of every sample of `pairs`, (M,) int64."""
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    """What the numbers in the files of a modality mean, if files were read."""

    def pairs(self, *names: str) -> Any:
        """What the transfer reads: these modalities of all training pairs, without labels."""
        parts = [part for part in (self.train, self.unlabeled) if part is not None]
        if not parts:
            raise DataError("there are no pairs to transfer from: neither a training nor an unlabeled part")
        return join(*(select(part, *names) for part in parts))

    @cached_property
    def is_labeled(self) -> bool:
        """Whether there are labels to train and to judge a segmentation with."""
        return all(part is not None and "label" in read_rows(part, [0]) for part in (self.train, self.test))

    @cached_property
    def digest(self) -> dict[str, Any]:
        """What is in the parts, by which finished stages know them."""
        parts = {"train": self.train, "unlabeled": self.unlabeled}
        return {name: content_of(part) for name, part in parts.items() if part is not None}

    def labeled_count(self, fraction: float) -> int:
        """Return the number of samples of a fraction of the training split, at least one."""
        return max(1, round(fraction * len(self.train)))

    def labeled(self, fraction: float, seed: int) -> Any:
        """Return a fraction of the training split, at least one sample, drawn by `seed`; all of it for 1."""
        if fraction == 1.0:
            return self.train
        count = self.labeled_count(fraction)
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        return subset(self.train, order[:count].sort().values.tolist())


def load_samples(
    config: DataConfig,
    modalities: Sequence[str] = ("rgb", "depth"),
    *,
    accelerator: Accelerator | None = None,
    num_workers: int = 0,
) -> Samples:
    """The pairs of a configuration: in memory if they fit in its share of it, else as `DataConfig` says.

    Args:
        modalities: that are needed; label maps come along where there are some.
        accelerator: its main process makes the cache, and prints what was guessed and found.
        num_workers: processes that decode.

    Raises:
        DataError: no root, files missing there, damaged or unpaired samples, an encoding that cannot be
            guessed; the message says what to do.
        OutputError: no room for the cache.
    """

    def once(write: Callable[[], None]) -> None:
        if accelerator is None or accelerator.is_main_process:
            write()
        if accelerator is not None:
            from_main(accelerator, None)  # waits longer than a barrier would

    report = print if accelerator is None else accelerator.print
    loaded = load_parts(config, modalities, num_workers=num_workers, report=report, once=once)
    parts = loaded.parts
    labeled = parts.get("train", next(iter(parts.values())))
    classes = getattr(labeled, "num_classes", None) or config.classes
    names = getattr(labeled, "class_names", ()) or tuple(str(c) for c in range(classes))
    return Samples(
        parts.get("train"),
        parts.get("test"),
        classes,
        names,
        unlabeled=parts.get("unlabeled"),
        group=loaded.group,
        encodings=loaded.encodings,
    )
