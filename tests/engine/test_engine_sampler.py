"""The order of the data."""

import multiprocessing
import os
import signal
from itertools import chain

import pytest
import torch
from tiny_training import SAMPLES, TinyData
from torch import Tensor
from torch.utils.data import DataLoader

from crdkit.data import DataError, PairedTensors, read_in_order
from crdkit.engine import BatchSource, ShardedBatchSampler, WorkerError


def batches(**options: int | bool) -> list[list[int]]:
    return list(ShardedBatchSampler(SAMPLES, 4, **{"seed": 7, **options}))


def test_an_epoch_has_every_sample_once_and_keeps_the_last_batch() -> None:
    epoch = batches()
    assert [len(batch) for batch in epoch] == [4, 4, 4, 4, 4, 2]
    assert sorted(chain(*epoch)) == list(range(SAMPLES))


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    assert batches() == batches()
    assert batches() != batches(epoch=1)
    assert batches() != batches(seed=8)
    torch.manual_seed(99)
    assert batches(epoch=1) == batches(epoch=1)


def test_a_later_start_is_the_tail_of_the_epoch() -> None:
    assert batches(start=4) == batches()[4:]
    assert batches(start=6) == []


def test_without_shuffling_the_data_sets_order_stays() -> None:
    assert list(chain(*batches(shuffle=False))) == list(range(SAMPLES))


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_share_the_same_global_batches(ranks: int) -> None:
    """One after the other; none has more than one sample more than another. A batch with fewer samples than
    ranks is everybody's."""
    shares = [batches(rank=rank, world_size=ranks) for rank in range(ranks)]
    for number, whole in enumerate(batches()):
        slices = [share[number] for share in shares]
        if len(whole) < ranks:
            assert slices == [whole] * ranks
        else:
            assert list(chain(*slices)) == whole
            sizes = [len(part) for part in slices]
            assert sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_weights_make_the_mean_over_ranks_that_over_samples(ranks: int) -> None:
    class Numbers:
        def __len__(self) -> int:
            return SAMPLES

    sources = [
        BatchSource(Numbers(), batch_size=4, epochs=1, seed=7, rank=rank, world_size=ranks)
        for rank in range(ranks)
    ]
    shares = [batches(rank=rank, world_size=ranks) for rank in range(ranks)]
    for number, whole in enumerate(batches()):
        means = [sum(share[number]) / len(share[number]) for share in shares]
        weighed = sum(source.weight(number) * mean for source, mean in zip(sources, means, strict=True))
        assert weighed / ranks == pytest.approx(sum(whole))
        assert sources[0].is_even(number) == (len({len(share[number]) for share in shares}) == 1)


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    (batch,) = ShardedBatchSampler(3, 100, seed=0)
    assert sorted(batch) == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"length": 0}, r"1.*0"),
        ({"batch_size": 0}, r"batch_size.*1.*0"),
        ({"rank": 2, "world_size": 2}, r"rank.*\[0.*2\).*2"),
        ({"start": 7}, r"start.*\[0, 6\].*7"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ShardedBatchSampler(**{"length": SAMPLES, "batch_size": 4, "seed": 0, **options})


def test_it_serves_a_plain_data_loader() -> None:
    loader = DataLoader(TinyData(noise=0.0), batch_sampler=ShardedBatchSampler(SAMPLES, 4, seed=7))
    assert [batch["index"].tolist() for batch in loader] == batches()


def source(**options: object) -> BatchSource:
    return BatchSource(TinyData(), **{"batch_size": 8, "epochs": 2, "seed": 3, **options})


def equal(first: list[dict[str, Tensor]], second: list[dict[str, Tensor]]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a[name], b[name]) for a, b in zip(first, second, strict=True) for name in a
    )


def test_random_augmentation_does_not_depend_on_where_the_loading_started() -> None:
    everything = list(source().load(0, 0))
    assert len(everything) == 6
    assert equal(list(source().load(1, 1)), everything[4:])
    assert equal([source().fetch(1, 2)], everything[5:])
    order = torch.cat([batch["index"] for batch in everything[:3]])
    noise = torch.cat([batch["x"] for batch in everything[:3]])[order.argsort()]
    again = torch.cat([batch["index"] for batch in everything[3:]])
    assert not torch.equal(noise, torch.cat([batch["x"] for batch in everything[3:]])[again.argsort()])


def test_loading_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(source().load(0, 0))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_give_the_same_batches(method: str) -> None:
    former = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    try:
        assert equal(list(source().load(0, 1, num_workers=2)), list(source().load(0, 1)))
    finally:
        multiprocessing.set_start_method(former, force=True)


class WholeBatches(TinyData):
    """Gives a batch at once."""

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        return {"index": torch.tensor(indices), "x": self.vectors[indices] + torch.rand(len(indices), 1)}


def test_a_data_set_may_give_whole_batches() -> None:
    data = WholeBatches()
    everything = list(BatchSource(data, batch_size=8, epochs=1, seed=3).load(0, 0))
    assert [len(batch["index"]) for batch in everything] == [8, 8, 6]
    assert equal(everything, list(BatchSource(data, batch_size=8, epochs=1, seed=3).load(0, 0)))


class DyingData(TinyData):
    """Its worker is killed at sample 13, as by a system that ran out of memory."""

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        if i == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(i)


def test_a_killed_worker_is_an_error_and_no_hang() -> None:
    dying = BatchSource(DyingData(), batch_size=8, epochs=1, seed=3)
    with pytest.raises(WorkerError, match="num_workers=1"):
        list(dying.load(0, 0, num_workers=1))


class FailingData(TinyData):
    """Sample 13 cannot be read: by an error of the data's, or of whoever wrote them."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        if i == 13:
            raise self.error
        return super().__getitem__(i)


class FailingBatches(FailingData):
    def __getitems__(self, indices: list[int]) -> list[dict[str, Tensor]]:
        return [self[i] for i in indices]


@pytest.mark.parametrize("pin", [False, True])
def test_an_error_in_a_worker_names_the_sample_in_one_line(pin: bool) -> None:
    for data, words in (
        (FailingData, "sample 13: OSError: a.raw is gone"),
        (FailingBatches, "one of the samples ["),
    ):
        failing = BatchSource(data(OSError("a.raw is\ngone")), batch_size=8, epochs=1, seed=3)
        with pytest.raises(WorkerError) as caught:
            list(failing.load(0, 0, num_workers=1, pin_memory=pin))
        assert words in str(caught.value) and "a.raw is gone" in str(caught.value)
        assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    known = BatchSource(FailingData(DataError("a.npy is empty")), batch_size=8, epochs=1, seed=3)
    with pytest.raises(DataError, match=r"^a\.npy is empty$"):
        list(known.load(0, 0, num_workers=1, pin_memory=pin))
    with pytest.raises(OSError, match="gone") as told:  # in this process it stays what it is
        list(BatchSource(FailingData(OSError("gone")), batch_size=8, epochs=1, seed=3).load(0, 0))
    assert told.value.__notes__ == ["sample 13"]
    for workers in (0, 1):
        with pytest.raises(DataError if workers else OSError):
            list(read_in_order(FailingData(OSError("gone")), 4, num_workers=workers))
    with pytest.raises(DataError, match=r"^sample 13: OSError: gone"):
        PairedTensors.from_dataset(FailingData(OSError("gone")), num_workers=1)
