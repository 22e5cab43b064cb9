"""Local-global and dense contrast: naive loops, gradients, identities, bad input."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from crdkit.contrast import DenseContrast, LocalGlobalContrast
from crdkit.contrast.maps import grid, positions

D, TAU = 4, 0.5
INDEX = torch.tensor([3, 0, 8])
objectives = pytest.mark.parametrize("objective", ["nce", "infonce"])


def local_global(objective: str, queue_size: int = 6) -> LocalGlobalContrast:
    return LocalGlobalContrast(D, queue_size=queue_size, temperature=TAU, objective=objective).double()


def dense(objective: str, **options: int | bool | None) -> DenseContrast:
    options = {"queue_size": 10, "num_positions": None, **options}
    return DenseContrast(D, temperature=TAU, objective=objective, **options).double()


@objectives
@pytest.mark.parametrize("index", [[3, 0, 8], [3, 3, 8]], ids=["distinct", "repeated"])
def test_local_global_equals_naive_loops(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str, index: list[int]
) -> None:
    contrast = local_global(objective)
    early, s_old, t_old = torch.tensor([7, 5, 8]), unit(3, D), unit(3, D)
    contrast.update(early, s_old, t_old)  # half of the queue; image 8 is no noise for itself
    s_map, s_global, t_map, t_global = unit(3, D, 2, 3), unit(3, D), unit(3, D, 1, 2), unit(3, D)
    value = contrast(s_map, s_global, t_map, t_global, torch.tensor(index))
    s_queue, t_queue = (list(zip(early.tolist(), old, strict=True)) for old in (s_old, t_old))
    rule = {"objective": objective, "temperature": TAU, "num_samples": 1, "num_negatives": 2 + 3}
    expected = naive.direction(
        naive.local_global_pairs(s_map, t_global, index, t_queue), **rule
    ) + naive.direction(naive.local_global_pairs(t_map, s_global, index, s_queue), **rule)
    assert value.item() == pytest.approx(expected, rel=1e-6)


@objectives
def test_dense_equals_naive_loops_with_a_queue_that_holds_the_image(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str
) -> None:
    """The queue (10 places) has positions of images 8 and 5; those of image 8 are no noise for itself."""
    contrast = dense(objective)
    early = torch.tensor([8, 5])
    s_old, t_old = unit(2, D, 2, 2), unit(2, D, 2, 2)
    contrast.update(early, s_old, t_old)
    s_map, t_map = unit(3, D, 2, 2), unit(3, D, 2, 2)
    value = contrast(s_map, t_map, INDEX)
    queues = [
        [(int(early[b]), old[b, :, h, w]) for b in range(2) for h in range(2) for w in range(2)]
        for old in (s_old, t_old)
    ]
    rule = {"objective": objective, "temperature": TAU, "num_samples": 1, "num_negatives": 12 + 8 - 4}
    index = INDEX.tolist()
    expected = naive.direction(naive.dense_pairs(s_map, t_map, index, queues[1]), **rule) + naive.direction(
        naive.dense_pairs(t_map, s_map, index, queues[0]), **rule
    )
    assert value.item() == pytest.approx(expected, rel=1e-6)


@objectives
def test_dense_takes_noise_from_a_grid_and_anchors_from_everywhere(
    naive: ModuleType, unit: Callable[..., Tensor], objective: str
) -> None:
    """Maps of 4 × 4 with 4 positions of an image as noise; those of eval mode are in the middle."""
    contrast = dense(objective, queue_size=0, num_positions=4).eval()
    s_map, t_map = unit(3, D, 4, 4), unit(3, D, 4, 4)
    rule = {"objective": objective, "temperature": TAU, "num_samples": 1, "num_negatives": 8}
    chosen = [(h, w) for h in (0, 2) for w in (0, 2)]
    expected = sum(
        naive.direction(naive.dense_pairs(*maps, INDEX.tolist(), noise=chosen), **rule)
        for maps in ((s_map, t_map), (t_map, s_map))
    )
    assert contrast(s_map, t_map, INDEX).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 16), (2, 40)])
def test_a_moving_grid_visits_every_position(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    seen = torch.zeros(size, dtype=torch.bool)
    counts = set()
    for _ in range(400):
        rows, columns = grid(*size, 6, shift=True)
        counts.add(seen[rows, columns].numel())
        seen[rows, columns] = True
    assert seen.all()
    assert len(counts) == 1 and counts.pop() <= 6


@objectives
@pytest.mark.parametrize("queue_size", [0, 4])
def test_local_global_gradcheck(unit: Callable[..., Tensor], objective: str, queue_size: int) -> None:
    contrast = local_global(objective, queue_size)
    contrast.update(torch.tensor([8, 5]), unit(2, D), unit(2, D))
    inputs = unit(3, D, 1, 2), unit(3, D), unit(3, D, 2, 1), unit(3, D)
    contrast(*inputs, INDEX)  # fixes Z, of which no gradient is taken
    assert torch.autograd.gradcheck(lambda *inputs: contrast(*inputs, INDEX), inputs)


@objectives
def test_dense_gradcheck(unit: Callable[..., Tensor], objective: str) -> None:
    contrast = dense(objective)
    contrast.update(torch.tensor([8, 5]), unit(2, D, 2, 1), unit(2, D, 2, 1))
    inputs = unit(3, D, 2, 1), unit(3, D, 2, 1)
    contrast(*inputs, INDEX)
    assert torch.autograd.gradcheck(lambda s, t: contrast(s, t, INDEX), inputs)


@objectives
def test_save_load_step_equals_step_step(unit: Callable[..., Tensor], objective: str) -> None:
    maps, more = (unit(3, D, 2, 2), unit(3, D, 2, 2)), (unit(3, D, 2, 2), unit(3, D, 2, 2))
    contrast, resumed = dense(objective), dense(objective)
    contrast(*maps, INDEX)
    contrast.update(INDEX, *maps)
    resumed.load_state_dict(contrast.state_dict())
    assert torch.equal(contrast(*more, INDEX), resumed(*more, INDEX))
    contrast.update(INDEX, *more)
    resumed.update(INDEX, *more)
    for a, b in zip(contrast.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_local_global_queues_hold_the_other_sides_vectors(unit: Callable[..., Tensor]) -> None:
    contrast = local_global("nce")
    z_s, z_t = unit(3, D), unit(3, D)
    contrast.update(INDEX, z_s, z_t)
    assert torch.equal(contrast.student.queue.rows[:3], z_t) and torch.equal(
        contrast.teacher.queue.rows[:3], z_s
    )
    assert contrast.student.queue.ids.tolist() == [*INDEX.tolist(), -1, -1, -1]


@objectives
def test_one_image_alone(unit: Callable[..., Tensor], objective: str) -> None:
    maps = unit(1, D, 2, 2), unit(1, D, 2, 2)
    value = dense(objective)(*maps, INDEX[:1])
    value.backward()
    assert value.isfinite() and all(x.grad.isfinite().all() for x in maps)
    if objective == "infonce":
        assert value == 0


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (15, 20), (2, 40)])
@pytest.mark.parametrize("limit", [1, 6, 64, None])
def test_grid_meets_the_limit_and_is_regular(size: tuple[int, int], limit: int | None) -> None:
    places = torch.arange(size[0] * size[1]).reshape(size)
    rows, columns = grid(*size, limit)
    chosen = places[rows, columns]
    assert 1 <= chosen.numel() <= (limit or places.numel())
    assert rows.step == columns.step
    if limit is None:
        assert torch.equal(chosen, places)


def test_positions_are_in_the_order_of_images_rows_and_columns() -> None:
    z_map = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert torch.equal(positions(z_map)[20 + 2 * 5 + 3], z_map[1, :, 2, 3])


def test_bad_arguments_are_named(unit: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match=r"queue_size.*-1"):
        DenseContrast(D, queue_size=-1)
    with pytest.raises(ValueError, match=r"num_positions.*0"):
        DenseContrast(D, num_positions=0)
    with pytest.raises(ValueError, match=r"queue_size.*-5"):
        LocalGlobalContrast(D, queue_size=-5)
    with pytest.raises(ValueError, match=r"\(3, 4, 2, 2\).*\(3, 4, 1, 1\)"):
        dense("nce")(unit(3, D, 2, 2), unit(3, D, 1, 1), INDEX)
    with pytest.raises(IndexError, match=r"index.*-1"):
        dense("nce")(unit(1, D, 1, 1), unit(1, D, 1, 1), torch.tensor([-1]))
    with pytest.raises(ValueError, match=r"index.*int64.*torch.int32"):
        local_global("nce")(unit(1, D, 1, 1), unit(1, D), unit(1, D, 1, 1), unit(1, D), INDEX[:1].int())
    with pytest.raises(ValueError, match="maps"):
        dense("nce")(unit(3, D), unit(3, D), INDEX)
