"""The bank and the queue."""

import math

import pytest
import torch
import torch.nn.functional as F

from crdkit.contrast import ContrastConfig, FeatureQueue, InstanceContrast, MemoryBank
from crdkit.contrast.negatives import OtherClass, draw_shared, draw_uniform


def test_published_start() -> None:
    rows = MemoryBank(2000, 12).rows
    assert rows.abs().max() <= 1 / math.sqrt(12 / 3) and rows.abs().max() > 0.499
    assert rows.square().sum(1).mean().item() == pytest.approx(1, abs=0.02)


def test_update_by_hand_and_all_other_rows_bit_identical() -> None:
    bank = MemoryBank(10, 4, momentum=0.3)
    before, z = bank.rows.clone(), F.normalize(torch.randn(2, 4), dim=1)
    bank.update(torch.tensor([7, 2]), z)
    for row, vector in ((7, z[0]), (2, z[1])):
        expected = 0.3 * before[row] + 0.7 * vector
        torch.testing.assert_close(bank.rows[row], expected / expected.square().sum().sqrt())
    untouched = [0, 1, 3, 4, 5, 6, 8, 9]
    assert torch.equal(bank.rows[untouched], before[untouched])


def test_of_a_repeated_index_the_first_counts() -> None:
    bank, once = MemoryBank(10, 4), MemoryBank(10, 4)
    once.load_state_dict(bank.state_dict())
    z = F.normalize(torch.randn(5, 4), dim=1)
    bank.update(torch.tensor([7, 2, 7, 2, 7]), z)
    once.update(torch.tensor([7, 2]), z[:2])
    assert torch.equal(bank.rows, once.rows)


def test_a_vector_opposite_to_its_row_leaves_a_finite_row() -> None:
    bank = MemoryBank(3, 4)
    bank.rows[0] = torch.tensor([1.0, 0, 0, 0])
    bank.update(torch.tensor([0]), -bank.rows[:1])
    assert bank.rows.isfinite().all()


@pytest.mark.parametrize("sizes", [(3, 3, 3), (7, 1, 6), (5, 9, 2), (20,), (0, 4)])
def test_queue_holds_the_latest_in_a_ring(sizes: tuple[int, ...]) -> None:
    """Against a Python list; sizes cross the end, equal the length and exceed it."""
    queue, latest = FeatureQueue(7, 2), []
    for size in sizes:
        z, owner = torch.randn(size, 2), torch.randint(100, (size,))
        queue.push(owner, z)
        latest = [*latest, *zip(owner.tolist(), z.tolist(), strict=True)][-7:]
    oldest_first = (torch.arange(7) + queue.write_position) % 7
    filled = oldest_first[queue.ids[oldest_first] >= 0]
    assert queue.ids[filled].tolist() == [owner for owner, _ in latest]
    assert queue.rows[filled].tolist() == [vector for _, vector in latest]


def test_queue_goes_on_where_its_state_was_saved() -> None:
    queue, resumed = FeatureQueue(7, 2), FeatureQueue(7, 2)
    queue.push(torch.arange(5), torch.randn(5, 2))
    resumed.load_state_dict(queue.state_dict())
    more = torch.randn(4, 2)
    for each in (queue, resumed):
        each.push(torch.arange(4), more)
    assert all(torch.equal(a, b) for a, b in zip(queue.buffers(), resumed.buffers(), strict=True))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"num_samples.*2.*1"):
        MemoryBank(1, 4)
    with pytest.raises(ValueError, match=r"momentum.*\[0.*1\).*1.0"):
        MemoryBank(5, 4, momentum=1.0)
    with pytest.raises(ValueError, match=r"length.*0"):
        FeatureQueue(0, 4)


def test_what_cannot_fit_is_refused_before_it_is_allocated() -> None:
    def contrast(negatives: str) -> InstanceContrast:
        return InstanceContrast(64, ContrastConfig(4, num_negatives=10**12, negatives=negatives))

    for attempt, text in (
        (
            lambda: MemoryBank(10**12, 4),
            r"memory bank, 1000000000000 × 4, would take .*GiB.*lower num_samples",
        ),
        (lambda: FeatureQueue(10**12, 4), r"queue, 1000000000000 × 4, .*lower the queue's length"),
        (lambda: contrast("uniform"), "lower num_negatives"),
        (lambda: contrast("shared"), "lower num_negatives"),
        (lambda: draw_uniform(torch.arange(8), 10**12, 64), "negatives, 8 × 1000000000000, .*num_negatives"),
        (lambda: draw_shared(10**12, 64), "lower num_negatives"),
        (lambda: OtherClass(torch.arange(4))(torch.arange(4), 10**12), "lower num_negatives"),
    ):
        with pytest.raises(ValueError, match=text):
            attempt()
    contrast("all")  # draws nothing


@pytest.mark.parametrize("negatives", ["uniform", "shared", "all"])
def test_more_negatives_than_samples(negatives: str) -> None:
    loss = InstanceContrast(3, ContrastConfig(4, num_negatives=50, negatives=negatives))
    z = torch.nn.functional.normalize(torch.randn(3, 4), dim=1)
    assert loss(z, z, torch.arange(3)).isfinite()
    drawn = draw_uniform(torch.arange(3), 50, 3)
    assert drawn.shape == (3, 50) and all(len(row.unique()) == 2 for row in drawn)
    assert not (drawn == torch.arange(3).unsqueeze(1)).any()
