"""Random furnished rooms: what stands where, and how each surface is painted."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...data.io.arrays import Array
from .furniture import (
    AT_WALLS,
    BED,
    CABINET,
    CEILING,
    CHAIR,
    DOOR,
    FLOOR,
    LAMP,
    ON_WALLS,
    PICTURE,
    SOFA,
    TABLE,
    WALL,
    WINDOW,
    Piece,
    Rng,
    chair,
    lamp,
    table,
)


@dataclass(frozen=True)
class Scene:
    """A room from the origin to `room`, in meters: x to the right, y up, z away from the camera's wall.

    Surfaces are numbered floor 0, ceiling 1, walls 2, then boxes, then balls.
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
    """(3,) position of the lamp at the ceiling."""
    boxes: Array
    """(K, 7) center, half sizes, yaw."""
    balls: Array
    """(S, 4) center, radius."""
    classes: Array
    """(3 + K + S,) class of each surface."""
    paint: Array
    """(3 + K + S, 12) two colors, stripes a meter along both axes, whether each axis has stripes, phase,
    grain."""
    lost: Array
    """(3 + K + S,) share of the readings that a depth camera loses there: glass lets its pattern through."""


class _Surface(NamedTuple):
    shape: list[float]
    kind: int
    paint: Array


@dataclass
class _Builder:
    """Collects the surfaces of a room."""

    rng: Rng
    boxes: list[_Surface] = field(default_factory=list)
    balls: list[_Surface] = field(default_factory=list)
    taken: list[tuple[float, float, float]] = field(default_factory=list)  # x, z, radius on the floor

    def is_free(self, x: float, z: float, radius: float) -> bool:
        return all(np.hypot(x - a, z - b) > radius + r for a, b, r in self.taken)

    def put(self, piece: Piece, x: float, z: float, yaw: float, *, occupies: bool = True) -> None:
        """Stand a piece on the floor, its back turned by `yaw` from the far wall to the right."""
        cos, sin = float(np.cos(yaw)), float(np.sin(yaw))
        paints: dict[int, Array] = {}
        for part in piece.parts:
            paint = paints.setdefault(part.paint, _paint(self.rng, piece.kind, part.paint))
            dx, y, dz = part.center
            center = [x + cos * dx + sin * dz, y, z - sin * dx + cos * dz]
            if part.radius:
                self.balls.append(_Surface([*center, part.radius], piece.kind, paint))
            else:
                self.boxes.append(_Surface([*center, *part.half, yaw], piece.kind, paint))
        if occupies:
            self.taken.append((x, z, 0.85 * float(np.hypot(*piece.half))))


def draw_scene(rng: Rng) -> Scene:
    """One room: furniture along its walls, perhaps a table with chairs, a lamp, and what hangs there."""
    room = rng.uniform((3.2, 2.4, 3.8), (5.5, 3.0, 6.5))
    camera = np.array([room[0] * rng.uniform(0.3, 0.7), rng.uniform(1.2, 1.8), rng.uniform(0.2, 0.6)])
    light = room * rng.uniform((0.3, 0.92, 0.2), (0.7, 0.97, 0.6))
    build = _Builder(rng)
    for _ in range(int(rng.integers(3, 6))):
        _against_a_wall(build, AT_WALLS[rng.integers(len(AT_WALLS))](rng), room)
    if rng.random() < 0.7:
        _table_with_chairs(build, room)
    if rng.random() < 0.6:
        _somewhere(build, lamp(rng), room)
    if rng.random() < 0.5:
        _somewhere(build, chair(rng), room)
    for wall in range(3):
        _on_the_wall(build, wall, room)
    shell = [_Surface([], kind, _paint(rng, kind)) for kind in (FLOOR, CEILING, WALL)]
    surfaces = [*shell, *build.boxes, *build.balls]
    classes = np.array([surface.kind for surface in surfaces], np.uint8)
    return Scene(
        room=room,
        camera=camera,
        yaw=rng.uniform(-0.5, 0.5),
        pitch=rng.uniform(-0.35, 0.0),
        field_of_view=rng.uniform(1.0, 1.25),
        light=light,
        boxes=np.reshape([box.shape for box in build.boxes], (-1, 7)),
        balls=np.reshape([ball.shape for ball in build.balls], (-1, 4)),
        classes=classes,
        paint=np.stack([surface.paint for surface in surfaces]),
        lost=np.where(classes == WINDOW, np.float32(0.6), np.float32(0)),
    )


_YAWS = (-np.pi / 2, 0.0, np.pi / 2)  # backs to the left wall, the far one, the right one


def _at(wall: int, along: float, off: float, room: Array) -> tuple[float, float]:
    """x and z of a place `along` a wall and `off` it."""
    return ((off, along), (along, room[2] - off), (room[0] - off, along))[wall]


def _against_a_wall(build: _Builder, piece: Piece, room: Array) -> None:
    half_x, half_z = piece.half
    for _ in range(8):
        wall = int(build.rng.integers(3))
        low, high = (half_x, room[0] - half_x) if wall == 1 else (1.2 + half_x, room[2] - half_x)
        if low >= high:
            continue
        x, z = _at(wall, build.rng.uniform(low, high), half_z + 0.04, room)
        if build.is_free(x, z, 0.85 * float(np.hypot(half_x, half_z))):
            build.put(piece, x, z, _YAWS[wall])
            return


def _somewhere(build: _Builder, piece: Piece, room: Array) -> None:
    radius = float(np.hypot(*piece.half))
    for _ in range(8):
        x, z = build.rng.uniform((0.4, 1.6), (room[0] - 0.4, room[2] - 0.4))
        if build.is_free(x, z, radius):
            build.put(piece, x, z, build.rng.uniform(-np.pi, np.pi))
            return


def _table_with_chairs(build: _Builder, room: Array) -> None:
    rng, piece = build.rng, table(build.rng)
    radius = float(np.hypot(*piece.half))
    for _ in range(8):
        x, z = rng.uniform((0.8, 2.0), (room[0] - 0.8, room[2] - 0.8))
        if not build.is_free(x, z, radius):
            continue
        yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        for side in (-1, 1):
            if rng.random() < 0.6:
                # Half under the table, its back turned away from it.
                out = piece.half[1] + 0.15
                build.put(
                    chair(rng),
                    x + side * out * np.sin(yaw),
                    z + side * out * np.cos(yaw),
                    yaw if side > 0 else yaw + np.pi,
                    occupies=False,
                )
        build.put(piece, x, z, yaw)
        return


def _on_the_wall(build: _Builder, wall: int, room: Array) -> None:
    """Up to two things side by side."""
    length = room[0] if wall == 1 else room[2]
    start = 0.3 if wall == 1 else 1.5
    for _ in range(int(build.rng.integers(0, 3))):
        piece = ON_WALLS[build.rng.integers(len(ON_WALLS))](build.rng)
        half_x, half_z = piece.half
        start += build.rng.uniform(0.0, 0.4 * length) + half_x
        if start + half_x > length - 0.1:
            return
        x, z = _at(wall, start, half_z, room)
        build.put(piece, x, z, _YAWS[wall], occupies=False)
        start += half_x + 0.2


_WOOD = ((0.25, 0.13, 0.06), (0.72, 0.52, 0.38), (6.0, 16.0), 0.5, 0.07)
_RANGES = {
    # class and paint: darkest and lightest first color (RGB), stripes a meter, chance of stripes, grain
    (FLOOR, 0): ((0.25, 0.15, 0.08), (0.65, 0.5, 0.4), (2.0, 6.0), 0.8, 0.05),
    (CEILING, 0): ((0.75, 0.75, 0.7), (0.95, 0.95, 0.95), (1.0, 2.0), 0.3, 0.01),
    (WALL, 0): ((0.45, 0.45, 0.4), (0.95, 0.9, 0.9), (2.0, 8.0), 0.25, 0.02),
    (BED, 0): ((0.3, 0.3, 0.4), (0.95, 0.9, 0.95), (4.0, 12.0), 0.5, 0.03),  # cloth
    (BED, 1): _WOOD,
    (BED, 2): ((0.8, 0.8, 0.78), (0.98, 0.98, 0.98), (1.0, 2.0), 0.1, 0.01),  # pillows
    (SOFA, 0): ((0.1, 0.1, 0.1), (0.7, 0.5, 0.55), (4.0, 8.0), 0.2, 0.05),
    (CHAIR, 0): ((0.1, 0.08, 0.05), (0.75, 0.5, 0.35), (6.0, 16.0), 0.2, 0.04),
    (TABLE, 0): _WOOD,
    (CABINET, 0): ((0.3, 0.2, 0.12), (0.9, 0.85, 0.8), (2.0, 4.0), 0.8, 0.03),
    (LAMP, 0): ((0.85, 0.75, 0.5), (1.0, 0.98, 0.85), (1.0, 2.0), 0.1, 0.0),
    (LAMP, 1): ((0.05, 0.05, 0.05), (0.4, 0.4, 0.4), (1.0, 2.0), 0.0, 0.0),
    (PICTURE, 0): ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (4.0, 12.0), 0.9, 0.1),
    (DOOR, 0): ((0.3, 0.15, 0.05), (0.85, 0.75, 0.65), (1.5, 2.5), 0.7, 0.04),
    (WINDOW, 0): ((0.35, 0.5, 0.7), (0.75, 0.9, 1.0), (1.0, 2.5), 0.8, 0.02),  # the sky behind
    (WINDOW, 1): ((0.8, 0.8, 0.78), (0.98, 0.98, 0.98), (1.0, 2.0), 0.0, 0.01),
}
GLOSSY = (LAMP, PICTURE, WINDOW)
COLORFUL = ((BED, 0), (SOFA, 0), (PICTURE, 0))


def _paint(rng: Rng, kind: int, number: int = 0) -> Array:
    """Colors and stripes as surfaces of that class have them: seen in color, never in depth."""
    darkest, lightest, stripes, chance, grain = _RANGES[kind, number]
    # Cloth and pictures have any hue; wood is brown, and walls are painted in pale colors.
    hues = 1.0 if (kind, number) in COLORFUL else 0.3
    shade = (1 - hues) * rng.random() + hues * rng.random(3)
    first = darkest + np.subtract(lightest, darkest) * shade
    # The second color of a picture is another draw, a shade of the first elsewhere.
    second = rng.uniform(darkest, lightest) if kind == PICTURE else first * rng.uniform(0.75, 0.95)
    striped = rng.random(2) < chance
    return np.concatenate([first, second, rng.uniform(*stripes, 2), striped, [rng.random(), grain]])
