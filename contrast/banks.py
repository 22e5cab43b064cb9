"""Where the rows of a memory are, if not whole on the module's device: the host, a mapped file, all ranks."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common import UserError, free_memory, require_space
from .config import ContrastConfig
from .distributed import fill_up, gather, is_first_rank, rank, rows_of_ranks, smallest, world_size
from .memory import MemoryBank, first_rows, new_rows

WHOLE = "memory"

#: Up to so many bytes nobody is asked: what is everywhere.
_SMALL = 2**30
#: Of free memory, the share that the banks may take: images, networks and the optimizer want some, too.
_SHARE = 0.5


class HostBank(MemoryBank):
    """Rows on the CPU; `to` and `cuda` leave them there, so K + B rows travel in a step.

    What travels to a GPU is gathered in pinned memory; the rows themselves need not be.
    """

    def take(self, places: Tensor) -> Tensor:
        rows = self.rows.new_empty(len(places), self.rows.shape[1], pin_memory=places.is_cuda)
        torch.index_select(self.rows, 0, places.cpu(), out=rows)
        return rows.to(places.device, non_blocking=True)

    def update(self, index: Tensor, z: Tensor) -> None:
        super().update(index.cpu(), z.cpu())

    def _start(self, embed_dim: int, dtype: torch.dtype) -> Tensor:
        with torch.device("cpu"):
            return super()._start(embed_dim, dtype)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "HostBank":
        return self


class MappedBank(HostBank):
    """As `HostBank`, in a file of the system's folder for temporary ones (TMPDIR): what is read and written
    is in memory as long as there is room for it. The file has no name, and ends with the process."""

    def _start(self, embed_dim: int, dtype: torch.dtype) -> Tensor:
        count, folder = self.num_samples * embed_dim, Path(tempfile.gettempdir())
        require_space(folder, count * dtype.itemsize, "set TMPDIR to a folder on a larger disk")
        descriptor, path = tempfile.mkstemp(prefix="crdkit-bank-", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for block in first_rows(self.num_samples, embed_dim, dtype):
                    file.write(block.view(torch.uint8).numpy().data)
            rows = torch.from_file(path, shared=True, size=count, dtype=dtype, device="cpu")
        finally:
            os.unlink(path)
        return rows.view(self.num_samples, embed_dim)


class ShardedBank(MemoryBank):
    """The rows i with i mod W = r on rank r of W, on the module's device.

    Negatives are drawn from the own rows; those of a batch are asked of their owners, and written there. All
    ranks call `read` and `update` together, and start from one seed. In `state_dict` is a copy of the own
    rows by a name that has the rank; a state with all rows is taken, too, each rank its own.
    """

    def __init__(self, num_samples: int, embed_dim: int, **options: Any) -> None:
        self.rank, self.world = rank(), world_size()
        if num_samples < self.world:
            raise UserError(f"num_samples must be at least the {self.world} ranks, got {num_samples}")
        super().__init__(num_samples, embed_dim, **options)

    @property
    def size(self) -> int:
        return len(range(self.rank, self.num_samples, self.world))

    def samples(self, places: Tensor) -> Tensor:
        return places * self.world + self.rank

    def read(self, index: Tensor) -> Tensor:
        if self.world == 1:
            return self.take(index)
        counts = rows_of_ranks(index)
        everyone = gather(index, counts)
        own = (everyone % self.world == self.rank).unsqueeze(1)
        rows = fill_up(self.take(self._places(everyone)).where(own, 0.0))
        return rows.split(list(counts))[self.rank]

    def update(self, index: Tensor, z: Tensor) -> None:
        super().update(self._places(index), z)

    def _places(self, index: Tensor) -> Tensor:
        """Of own samples their place; of others that of a row that belongs to none."""
        if self.world == 1:
            return index
        return (index // self.world).where(index % self.world == self.rank, len(self.rows) - 1)

    def _start(self, embed_dim: int, dtype: torch.dtype) -> Tensor:
        if self.world == 1:
            return super()._start(embed_dim, dtype)
        # Equally many on every rank, and one more that takes the writes of other ranks' rows.
        rows = new_rows(-(-self.num_samples // self.world) + 1, embed_dim, dtype).zero_()
        start = place = 0
        for block in first_rows(self.num_samples, embed_dim, dtype):
            own = block[(self.rank - start) % self.world :: self.world]
            rows[place : place + len(own)] = own
            start, place = start + len(block), place + len(own)
        return rows

    @property
    def _name(self) -> str:
        return f"rows_of_rank_{self.rank}_of_{self.world}"

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if self.world == 1:
            super()._save_to_state_dict(destination, prefix, keep_vars)
        else:  # a copy: whoever makes all ranks' states one must not write into it
            destination[prefix + self._name] = self.rows[:-1].to("cpu", copy=True)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.world > 1:
            own, whole = state_dict.pop(prefix + self._name, None), state_dict.get(prefix + "rows")
            if own is None and whole is not None and len(whole) == self.num_samples:
                own = whole[self.rank :: self.world]
            if own is not None:
                self.rows[: len(own)].copy_(own)
                state_dict[prefix + "rows"] = self.rows
        super()._load_from_state_dict(state_dict, prefix, *args)


_CLASSES = {WHOLE: MemoryBank, "host": HostBank, "mapped": MappedBank, "sharded": ShardedBank}


def make_banks(bank: str, config: ContrastConfig, num_samples: int) -> tuple[MemoryBank | None, MemoryBank]:
    """Return the banks of the student, if it has one, and of the teacher, of the kind of `choose_bank`."""

    def make() -> MemoryBank:
        return _CLASSES[bank](
            num_samples, config.embed_dim, momentum=config.momentum, dtype=config.memory_dtype
        )

    student = make() if config.num_sides == 2 else None
    return student, make()


def check_bank(config: ContrastConfig) -> None:
    """Raise a `UserError` for a bank that these negatives cannot be drawn from."""
    if config.bank not in ("auto", WHOLE) and not str(config.negatives).startswith("shared"):
        raise UserError(
            f"bank={config.bank!r} gives one draw of rows for the batch, and negatives={config.negatives!r} "
            f"needs other ones: take negatives='shared', or bank={WHOLE!r}"
        )


def choose_bank(config: ContrastConfig, num_samples: int) -> str:
    """Return the bank of resolved settings; of "auto" the first within half of the free memory.

    These are "memory", "sharded" on several ranks, "host" beside a GPU, and else "mapped"; or "memory"
    however large, if the negatives are not `shared`. Up to 1 GiB it is "memory". With several ranks the one
    with the least memory counts, and all of them ask.
    """
    bank, negatives, sides = config.bank, str(config.negatives), config.num_sides
    needed = sides * num_samples * config.embed_dim * getattr(torch, config.memory_dtype).itemsize
    if bank != "auto" or needed <= _SMALL:
        return WHOLE if bank == "auto" else bank
    # All ranks of a machine have one memory; a bank is made there before it moves to its GPU.
    free, gpu = free_memory(), torch.cuda.is_available()
    if free is None and not gpu:
        return WHOLE
    host = 2**62 if free is None else free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    device = min(host, torch.cuda.mem_get_info()[0]) if gpu else host
    host, device = smallest(int(_SHARE * host)), smallest(int(_SHARE * device))
    if needed <= device or not negatives.startswith("shared"):
        chosen = WHOLE
    elif needed / world_size() <= device and world_size() > 1:
        chosen = "sharded"
    else:
        chosen = "host" if gpu and needed <= host else "mapped"
    if is_first_rank():
        of_sides = "two sides" if sides == 2 else "one side"
        said = f"memory of {num_samples:,} rows and {of_sides}: {needed / 1e9:.1f} GB, bank={chosen!r}; "
        said += f"half of the free memory is {device / 1e9:.1f} GB"
        if needed > device and chosen == WHOLE:
            said += ". With negatives='shared' the rows may lie elsewhere"
        print(said)
    return chosen
