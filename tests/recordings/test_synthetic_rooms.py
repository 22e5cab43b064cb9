"""The rendered rooms: exact geometry, determinism, sensor noise."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from crdkit.data import Statistics
from crdkit.recordings import SyntheticRooms
from crdkit.recordings.synthetic_rooms.furniture import (
    AT_WALLS,
    BED,
    CEILING,
    CLASS_NAMES,
    DOOR,
    FLOOR,
    LAMP,
    ON_WALLS,
    PICTURE,
    SOFA,
    WALL,
    WINDOW,
    Piece,
    bed,
    chair,
    lamp,
    table,
)
from crdkit.recordings.synthetic_rooms.render import _rays, render
from crdkit.recordings.synthetic_rooms.rooms import STEP
from crdkit.recordings.synthetic_rooms.scenes import draw_scene

SIZE = (24, 32)


@pytest.mark.parametrize("seed", range(6))
def test_every_pixel_lies_on_its_surface_and_nothing_is_in_front(seed: int) -> None:
    """The depth, brought back into the room, against each surface's own equation."""
    scene = draw_scene(np.random.default_rng(seed))
    modality = render(scene, SIZE)
    rays = _rays(scene, SIZE).astype(np.float64)
    points = scene.camera[:, None] + rays * modality.depth.ravel()
    label = modality.label.ravel()
    np.testing.assert_allclose(points[1][label == FLOOR], 0, atol=1e-4)
    np.testing.assert_allclose(points[1][label == CEILING], scene.room[1], atol=1e-4)

    def in_box(at: np.ndarray, box: np.ndarray) -> np.ndarray:
        """How far out, 1 on the surface: the largest of |local| / half."""
        cos, sin = np.cos(box[6]), np.sin(box[6])
        x, y, z = at - box[:3, None]
        return np.abs(np.stack([cos * x - sin * z, y, sin * x + cos * z]) / box[3:6, None]).max(0)

    def in_ball(at: np.ndarray, ball: np.ndarray) -> np.ndarray:
        return np.linalg.norm(at - ball[:3, None], axis=0) / ball[3]

    outs = [lambda at, b=b: in_box(at, b) for b in scene.boxes]
    outs += [lambda at, s=s: in_ball(at, s) for s in scene.balls]
    solid = ~np.isin(label, (FLOOR, CEILING, WALL))
    nearest = np.min([np.abs(out(points) - 1) for out in outs], axis=0)
    assert solid.any() and nearest[solid].max() < 1e-3
    for share in np.linspace(0.05, 0.99, 40):
        between = scene.camera[:, None] + rays * modality.depth.ravel() * share
        assert all((out(between) > 1 - 1e-3).all() for out in outs)
        assert (between > -1e-4).all() and (between < scene.room[:, None] + 1e-4).all()


def test_a_scene_depends_on_seed_and_index_alone() -> None:
    short, long = SyntheticRooms(2, seed=3, size=SIZE), SyntheticRooms(4, seed=3, size=SIZE)
    other = SyntheticRooms(2, seed=4, size=SIZE)
    for name, modality in short.tensors.items():
        assert torch.equal(modality, long.tensors[name][:2])
        assert not torch.equal(modality, other.tensors[name])
    assert not torch.equal(long.tensors["rgb"][2], long.tensors["rgb"][3])


def test_all_classes_appear_and_the_exact_depth_has_no_holes() -> None:
    rooms = SyntheticRooms(60, seed=0, size=SIZE, noise=0.0)
    assert rooms.num_classes == len(rooms.class_names) == len(CLASS_NAMES) == 12
    assert rooms.tensors["label"].unique().tolist() == list(range(12))
    assert (rooms.tensors["depth"] > 0).all()


@pytest.mark.parametrize("make", [*AT_WALLS, *ON_WALLS, chair, table, lamp])
def test_furniture_stands_on_the_floor_within_the_place_it_takes(make: Callable[..., Piece]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        piece = make(rng)
        for part in piece.parts:
            reach = np.abs(part.center) + np.maximum(part.half, part.radius)
            assert reach[0] <= piece.half[0] + 0.06 and reach[2] <= piece.half[1] + 0.06
            assert part.center[1] - max(part.half[1], part.radius) >= -1e-9 and reach[1] < 2.3


def test_what_hangs_on_a_wall_shows_in_color_more_than_in_depth() -> None:
    """A picture is nearer than its wall by less than the noise of the depth at 4 m; a bed is not."""
    rng = np.random.default_rng(2)
    thick = {make(rng).kind: 2 * max(part.half[2] for part in make(rng).parts) for make in (*ON_WALLS, bed)}
    assert all(thick[kind] <= 0.12 for kind in (PICTURE, DOOR, WINDOW)) and thick[BED] > 1
    assert thick[PICTURE] < 0.0019 * (4 - 0.4) ** 2


def test_nothing_stands_in_something_else() -> None:
    """But for chairs, which stand half under their table: beds, sofas and lamps overlap nowhere."""
    for seed in range(30):
        scene = draw_scene(np.random.default_rng(seed))
        kinds = scene.classes[3 : 3 + len(scene.boxes)]
        lowest = {
            kind: scene.boxes[kinds == kind][:, [0, 2]] for kind in (BED, SOFA, LAMP) if (kinds == kind).any()
        }
        for kind, places in lowest.items():
            others = [other for name, other in lowest.items() if name != kind]
            for other in others:
                assert np.linalg.norm(places[:, None] - other[None], axis=-1).min() > 0.2


def test_windows_are_holes_in_the_measured_depth() -> None:
    exact, noisy = (SyntheticRooms(30, seed=5, size=SIZE, noise=n).tensors for n in (0.0, 1.0))
    glass = exact["label"] == WINDOW
    assert glass.any() and (exact["depth"][:, 0][glass] > 0).all()
    lost = (noisy["depth"][:, 0] == 0).float()
    assert 0.5 < lost[glass].mean() < 0.75 and lost[exact["label"] == WALL].mean() < 0.1


def test_measured_depth_comes_in_steps_of_disparity() -> None:
    depth = SyntheticRooms(4, seed=5, size=SIZE).tensors["depth"].double()
    steps = 1 / depth[depth > 0] / STEP
    assert (steps - steps.round()).abs().max() < 1e-3


def test_sensor_noise_grows_with_distance_and_makes_holes() -> None:
    exact, noisy = (SyntheticRooms(20, seed=1, size=SIZE, noise=n).tensors for n in (0.0, 1.0))
    assert torch.equal(exact["label"], noisy["label"])
    holes = noisy["depth"] == 0
    assert 0.01 < holes.float().mean() < 0.15
    error = (noisy["depth"] - exact["depth"])[~holes]
    true = exact["depth"][~holes]
    far, near = error[true > 3.5].std(), error[true < 2].std()
    assert far > 3 * near > 0
    assert error.abs().max() < 0.5
    assert (noisy["rgb"].float() - exact["rgb"].float()).std() == pytest.approx(0.02 * 255, rel=0.2)


def test_statistics_of_a_set_are_plausible() -> None:
    measured = Statistics.measure(SyntheticRooms(10, seed=2, size=SIZE))
    assert 1.5 < measured.mean["depth"][0] < 4.5
    assert all(0.15 < mean < 0.8 for mean in measured.mean["rgb"])


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match=r"num_samples.*0"):
        SyntheticRooms(0, seed=0)
    with pytest.raises(ValueError, match=r"seed.*-1"):
        SyntheticRooms(1, seed=-1)
    with pytest.raises(ValueError, match=r"noise.*-0\.5"):
        SyntheticRooms(1, seed=1, noise=-0.5)
