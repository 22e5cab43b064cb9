"""The rendered rooms: exact geometry, determinism, sensor noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crdkit.data import Statistics, SyntheticRooms
from crdkit.data.datasets.synthetic_rooms.render import _rays, render
from crdkit.data.datasets.synthetic_rooms.scenes import (
    BOX,
    CEILING,
    CLASS_NAMES,
    DOOR,
    FLOOR,
    PICTURE,
    SPHERE,
    TABLE,
    draw_scene,
)

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

    def in_sphere(at: np.ndarray, sphere: np.ndarray) -> np.ndarray:
        return np.linalg.norm(at - sphere[:3, None], axis=0) / sphere[3]

    outs = [lambda at, b=b: in_box(at, b) for b in scene.boxes]
    outs += [lambda at, s=s: in_sphere(at, s) for s in scene.spheres]
    solid = np.isin(label, (BOX, TABLE, SPHERE))
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
    rooms = SyntheticRooms(40, seed=0, size=SIZE, noise=0.0)
    assert rooms.num_classes == len(rooms.class_names) == len(CLASS_NAMES) == 8
    assert rooms.tensors["label"].unique().tolist() == list(range(8))
    assert (rooms.tensors["depth"] > 0).all()


def test_pictures_and_doors_change_the_color_and_not_the_depth() -> None:
    scenes = (draw_scene(np.random.default_rng(seed)) for seed in range(20))
    scene = next(s for s in scenes if np.isin(render(s, SIZE).label, (PICTURE, DOOR)).any())
    out_of_the_room = scene.panels + np.array([0, 0, 99, 0, 0, 0])
    with_panels, without = render(scene, SIZE), render(replace(scene, panels=out_of_the_room), SIZE)
    assert np.array_equal(with_panels.depth, without.depth)
    assert not np.array_equal(with_panels.color, without.color)


def test_sensor_noise_grows_with_distance_and_makes_holes() -> None:
    exact, noisy = (SyntheticRooms(20, seed=1, size=SIZE, noise=n).tensors for n in (0.0, 1.0))
    assert torch.equal(exact["label"], noisy["label"])
    holes = noisy["depth"] == 0
    assert 0.003 < holes.float().mean() < 0.1
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
