"""Random indoor rooms: what stands where, and how each surface is painted."""

from dataclasses import dataclass

import numpy as np

from ...io.decode import Array

CLASS_NAMES = ("floor", "ceiling", "wall", "box", "sphere", "table", "picture", "door")
FLOOR, CEILING, WALL, BOX, SPHERE, TABLE, PICTURE, DOOR = range(len(CLASS_NAMES))


@dataclass(frozen=True)
class Scene:
    """A room from the origin to `room`, in meters: x to the right, y up, z away from the camera's wall.

    Surfaces are numbered floor 0, ceiling 1, walls 2, then panels (flat on a wall), boxes, spheres.
    """

    room: Array
    """(3,) width, height, length."""
    camera: Array
    """(3,) position."""
    yaw: float
    """Turn to the right, in radians."""
    pitch: float
    """Turn upwards, in radians."""
    field_of_view: float
    """Horizontal, in radians."""
    light: Array
    """(3,) position of the lamp."""
    panels: Array
    """(P, 6) axis of the wall's normal (0 or 2), its side (0 near, 1 far), center and half size along the
    wall and upwards: pictures and doors, which a depth camera cannot see."""
    boxes: Array
    """(K, 7) center, half sizes, yaw; a table is a top and a foot."""
    spheres: Array
    """(S, 4) center, radius."""
    classes: Array
    """(3 + P + K + S,) class of each surface."""
    paint: Array
    """(3 + P + K + S, 12) two colors, stripes a meter along both axes, whether each axis has stripes, phase,
    grain."""


def draw_scene(rng: np.random.Generator) -> Scene:
    """One room with two to six things in it, a picture or more and perhaps a door."""
    room = rng.uniform((3.0, 2.3, 3.5), (5.5, 3.0, 6.5))
    camera = np.array([room[0] * rng.uniform(0.3, 0.7), rng.uniform(1.1, 1.8), rng.uniform(0.2, 0.6)])
    light = room * rng.uniform((0.3, 0.92, 0.2), (0.7, 0.97, 0.6))
    panels, panel_classes = _panels(rng, room)

    boxes: list[list[float]] = []
    classes: list[int] = []
    tops: list[tuple[float, float, float]] = []  # where a ball can lie: x, height, z
    places = _places(rng, room, camera, int(rng.integers(2, 6)))
    for x, z in places:
        yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        if rng.random() < 0.4:
            half_x, half_z, height = rng.uniform((0.4, 0.3, 0.45), (0.75, 0.5, 0.8))
            boxes.append([x, height - 0.03, z, half_x, 0.03, half_z, yaw])
            foot = rng.uniform(0.04, 0.15)
            boxes.append([x, height / 2 - 0.03, z, foot, height / 2 - 0.03, foot, yaw])
            classes += [TABLE, TABLE]
        else:
            half_x, half_z, height = rng.uniform((0.15, 0.15, 0.2), (0.5, 0.4, 1.3))
            boxes.append([x, height / 2, z, half_x, height / 2, half_z, yaw])
            classes.append(BOX)
        tops.append((x, height, z))
    spheres = []
    for x, z in _places(rng, room, camera, int(rng.integers(0, 3))):
        radius = rng.uniform(0.12, 0.35)
        spheres.append([x, radius, z, radius])
    for x, height, z in tops:
        if rng.random() < 0.4:
            radius = rng.uniform(0.08, 0.2)
            spheres.append([x, height + radius, z, radius])
    surface_classes = [FLOOR, CEILING, WALL, *panel_classes, *classes, *[SPHERE] * len(spheres)]
    return Scene(
        room=room, camera=camera, yaw=rng.uniform(-0.5, 0.5), pitch=rng.uniform(-0.35, 0.05),
        field_of_view=rng.uniform(1.0, 1.25), light=light, panels=np.reshape(panels, (-1, 6)),
        boxes=np.reshape(boxes, (-1, 7)), spheres=np.reshape(spheres, (-1, 4)),
        classes=np.array(surface_classes, np.uint8),
        paint=np.stack([_paint(rng, kind) for kind in surface_classes]),
    )  # fmt: skip


def _places(rng: np.random.Generator, room: Array, camera: Array, count: int) -> list[tuple[float, float]]:
    """Places (x, z) on the floor in front of the camera; things may stand into each other."""
    low = (0.4, camera[2] + 1.4)
    high = (room[0] - 0.4, room[2] - 0.4)
    return [tuple(place) for place in rng.uniform(low, high, (count, 2)).tolist()]


def _panels(rng: np.random.Generator, room: Array) -> tuple[list[list[float]], list[int]]:
    """Pictures on the three walls in view, and a door in half of the rooms."""
    panels: list[list[float]] = []
    classes: list[int] = []
    walls = ((0, 0), (2, 1), (0, 1))  # left, far, right
    door_wall = int(rng.integers(6))  # 3 to 5: no door
    for number, (axis, side) in enumerate(walls):
        length = room[2 - axis]
        if number == door_wall:
            height = rng.uniform(1.9, 2.1)
            along = length * rng.uniform(0.35, 0.8)
            panels.append([axis, side, along, height / 2, rng.uniform(0.38, 0.5), height / 2])
            classes.append(DOOR)
            continue
        for _ in range(int(rng.integers(0, 3))):
            half_length, half_height = rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.45)
            along = rng.uniform(0.2 * length + 0.5, length - half_length)
            panels.append([axis, side, along, rng.uniform(1.2, 1.7), half_length, half_height])
            classes.append(PICTURE)
    return panels, classes


_RANGES = {
    # class: darkest and lightest first color (RGB), stripes a meter, chance of stripes, grain
    FLOOR: ((0.25, 0.15, 0.08), (0.65, 0.5, 0.4), (2.0, 6.0), 0.8, 0.05),
    CEILING: ((0.75, 0.75, 0.7), (0.95, 0.95, 0.95), (1.0, 2.0), 0.3, 0.01),
    WALL: ((0.45, 0.45, 0.4), (0.95, 0.9, 0.9), (2.0, 8.0), 0.25, 0.02),
    BOX: ((0.1, 0.1, 0.1), (0.9, 0.8, 0.7), (3.0, 10.0), 0.6, 0.03),
    SPHERE: ((0.2, 0.05, 0.05), (1.0, 0.9, 0.9), (1.0, 3.0), 0.6, 0.0),
    TABLE: ((0.2, 0.1, 0.05), (0.7, 0.5, 0.3), (8.0, 20.0), 0.5, 0.08),
    PICTURE: ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (4.0, 12.0), 0.9, 0.1),
    DOOR: ((0.3, 0.15, 0.05), (0.85, 0.75, 0.65), (1.5, 2.5), 0.7, 0.04),
}


def _paint(rng: np.random.Generator, kind: int) -> Array:
    """Colors and stripes as surfaces of that class have them: seen in color, never in depth."""
    darkest, lightest, stripes, chance, grain = _RANGES[kind]
    first = rng.uniform(darkest, lightest)
    # The second color is another draw where the class is gaudy, a shade of the first elsewhere.
    gaudy = kind in (PICTURE, SPHERE, BOX)
    second = rng.uniform(darkest, lightest) if gaudy else first * rng.uniform(0.75, 0.95)
    striped = rng.random(2) < chance
    return np.concatenate([first, second, rng.uniform(*stripes, 2), striped, [rng.random(), grain]])
