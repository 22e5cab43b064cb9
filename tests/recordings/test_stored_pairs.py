"""Decoded samples on disk: the same batches as from memory, whole or refused, and sent by their path."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crdkit.common import ManifestError, OutputError
from crdkit.data import (
    ArrayWriter,
    DataError,
    JoinedPairs,
    MappedArray,
    PairedTensors,
    SelectedPairs,
    join,
    read_rows,
    select,
    subset,
)
from crdkit.recordings import StoredPairs


class Served(torch.utils.data.Dataset[Any]):
    """A data set that decodes: samples one by one, with nothing in memory."""

    num_classes, class_names = 7, tuple("abcdefg")

    def __init__(self, pairs: PairedTensors) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.pairs[index]


def pairs(count: int = 70) -> PairedTensors:
    generator = torch.Generator().manual_seed(0)
    return PairedTensors(
        rgb=torch.randint(0, 256, (count, 3, 4, 6), dtype=torch.uint8, generator=generator),
        depth=torch.rand(count, 1, 4, 6, generator=generator),
        label=torch.randint(0, 7, (count, 4, 6), dtype=torch.uint8, generator=generator),
    )


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


@pytest.mark.parametrize("num_workers", [0, 1])
def test_serves_the_batches_of_memory(tmp_path: Path, num_workers: int) -> None:
    source = pairs()
    made = StoredPairs.write(Served(source), tmp_path / "cache", num_workers=num_workers)
    again = StoredPairs(tmp_path / "cache")
    for stored in (made, again, pickle.loads(pickle.dumps(made))):
        assert len(stored) == 70 and stored.num_classes == 7 and stored.class_names == tuple("abcdefg")
        assert same(stored.__getitems__([69, 3, 3]), source.__getitems__([69, 3, 3]))
    assert len(pickle.dumps(made)) < 2000
    assert StoredPairs.size_of(Served(source)) == sum(array.nbytes for array in made.arrays.values())


def test_whole_image_labels_keep_their_type(tmp_path: Path) -> None:
    source = PairedTensors(rgb=pairs(5).tensors["rgb"], label=torch.tensor([0, 300, 2, 1, 5]))
    made = StoredPairs.write(SelectedPairs(source), tmp_path / "cache")
    assert made.__getitems__([1, 4])["label"].tolist() == [300, 5]
    assert made.num_classes is None and made.class_names == ()


def test_a_modality_that_is_not_selected_is_not_read(tmp_path: Path) -> None:
    made = StoredPairs.write(Served(pairs()), tmp_path / "cache").select("depth")
    (tmp_path / "cache/rgb.npy").unlink()
    assert set(made.__getitems__([0])) == {"index", "depth"}
    with pytest.raises(DataError, match="thermal"):
        made.select("thermal")


def test_damage_is_named_and_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    StoredPairs.write(Served(pairs()), tmp_path / "cache", fingerprint={"size": [4, 6]})
    assert (StoredPairs.made_from(tmp_path / "cache") or {})["size"] == [4, 6]
    assert StoredPairs.made_from(tmp_path / "other") is None
    file = tmp_path / "cache/depth.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ManifestError, match=r"depth\.npy"):
        StoredPairs(tmp_path / "cache")

    class Broken(Served):
        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            sample = super().__getitem__(index)
            return sample if index < 64 else sample | {"depth": sample["depth"][:, :3]}

    with pytest.raises(DataError, match="depth of sample 64"):
        StoredPairs.write(Broken(pairs()), tmp_path / "broken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    with pytest.raises(OutputError, match="cache"):
        StoredPairs.write(Served(pairs()), tmp_path / "cache")
    assert not list(tmp_path.iterdir())


def test_arrays_are_written_in_blocks_and_read_by_index(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    with ArrayWriter(tmp_path / "a.npy", values.shape, values.dtype) as writer:
        for block in values.reshape(4, 2, 3):
            writer.append(block)
    assert np.array_equal(np.load(tmp_path / "a.npy"), values)
    read = MappedArray(tmp_path / "a.npy")
    assert read.shape == (2, 4, 3) and read.dtype == np.float32 and len(read) == 2
    places = np.array([1, 0]), np.array([3, 3])
    assert np.array_equal(read[places], values[places]) and not isinstance(read[0], np.memmap)
    with (
        pytest.raises(ValueError, match="12"),
        ArrayWriter(tmp_path / "b.npy", values.shape, values.dtype) as short,
    ):
        short.append(values[0])
    with (
        pytest.raises(ValueError, match="float64"),
        ArrayWriter(tmp_path / "c.npy", values.shape, values.dtype) as other,
    ):
        other.append(values.astype(float))
    np.save(tmp_path / "d.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="object"):
        MappedArray(tmp_path / "d.npy")


def test_joined_data_sets_count_on() -> None:
    source = pairs(10)
    parts = [source.subset(range(4)), Served(source.subset(range(4, 5))), source.subset(range(5, 10))]
    joined = join(*parts)
    assert isinstance(joined, JoinedPairs) and join(source) is source
    rows = [9, 0, 4, 5, 3, 4]
    assert same(joined.__getitems__(rows), source.__getitems__(rows))
    with pytest.raises(DataError, match="differ"):
        read_rows(JoinedPairs(source.select("rgb"), source.select("depth")), [0, 12])


def test_selection_by_modality_and_row_is_one_for_all_data_sets(tmp_path: Path) -> None:
    source = pairs(10)
    stored = StoredPairs.write(Served(source), tmp_path / "cache")
    wanted = source.subset([7, 2, 2]).select("depth").__getitems__([2, 0])
    for dataset in (source, Served(source), stored):
        assert same(read_rows(select(subset(dataset, [7, 2, 2]), "depth"), [2, 0]), wanted)
        assert same(read_rows(subset(select(dataset, "depth"), [7, 2, 2]), [2, 0]), wanted)
        with pytest.raises(DataError, match="10"):
            subset(dataset, [0, 10])
    with pytest.raises(DataError, match="thermal"):
        read_rows(select(Served(source), "thermal"), [0])
    assert isinstance(select(Served(source), "depth"), SelectedPairs)
