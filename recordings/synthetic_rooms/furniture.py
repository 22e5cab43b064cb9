"""Pieces of furniture: boxes and balls in a frame of their own, as large as such things are."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CLASS_NAMES = (
    "floor",
    "ceiling",
    "wall",
    "bed",
    "sofa",
    "chair",
    "table",
    "cabinet",
    "lamp",
    "picture",
    "door",
    "window",
)
FLOOR, CEILING, WALL, BED, SOFA, CHAIR, TABLE, CABINET, LAMP, PICTURE, DOOR, WINDOW = range(len(CLASS_NAMES))

Rng = np.random.Generator


class Part(NamedTuple):
    """A box, or a ball if `radius` is not 0; meters, in the frame of its piece: x along it, y up from the
    floor, z towards its back."""

    center: tuple[float, float, float]
    half: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 0.0
    paint: int = 0
    """Parts of equal number are painted alike."""


class Piece(NamedTuple):
    """One piece of furniture."""

    kind: int
    """Its class."""
    half: tuple[float, float]
    """Half the floor that it takes, along x and z."""
    parts: tuple[Part, ...]


def bed(rng: Rng) -> Piece:
    """A mattress on a base, pillows at the headboard."""
    wide, base, mattress, head = rng.uniform((0.45, 0.12, 0.08, 0.4), (0.9, 0.2, 0.14, 0.6))
    top = 2 * (base + mattress)
    pillows = [-wide / 2, wide / 2] if wide > 0.65 else [0.0]
    return Piece(
        BED,
        (wide, 1.0),
        (
            Part((0, base, 0), (wide, base, 1.0), paint=1),
            Part((0, 2 * base + mattress, 0), (wide - 0.02, mattress, 0.98)),
            Part((0, head, 1.0), (wide, head, 0.03), paint=1),
            *(Part((x, top + 0.06, 0.72), (0.3, 0.06, 0.18), paint=2) for x in pillows),
        ),
    )


def sofa(rng: Rng) -> Piece:
    """A seat, a back, two arms."""
    wide, seat, back, arm = rng.uniform((0.6, 0.19, 0.36, 0.26), (1.1, 0.23, 0.48, 0.34))
    return Piece(
        SOFA,
        (wide + 0.12, 0.42),
        (
            Part((0, seat, 0), (wide, seat, 0.42)),
            Part((0, back, 0.3), (wide, back, 0.12)),
            Part((-wide - 0.06, arm, 0), (0.1, arm, 0.42)),
            Part((wide + 0.06, arm, 0), (0.1, arm, 0.42)),
        ),
    )


def chair(rng: Rng) -> Piece:
    """A seat on four legs, and a back."""
    wide, seat, back = rng.uniform((0.2, 0.42, 0.2), (0.26, 0.48, 0.3))
    return Piece(
        CHAIR,
        (wide, wide),
        (
            Part((0, seat, 0), (wide, 0.03, wide)),
            Part((0, seat + back, wide - 0.03), (wide, back, 0.03)),
            *_legs(wide, wide, seat, 0.025),
        ),
    )


def table(rng: Rng) -> Piece:
    """A top on four legs."""
    long, wide, high = rng.uniform((0.45, 0.35, 0.6), (0.85, 0.5, 0.8))
    return Piece(
        TABLE,
        (long, wide),
        (
            Part((0, high, 0), (long, 0.03, wide)),
            *_legs(long, wide, high, 0.035),
        ),
    )


def cabinet(rng: Rng) -> Piece:
    """A chest of drawers, or a wardrobe."""
    wide, deep = rng.uniform((0.3, 0.2), (0.6, 0.3))
    high = rng.uniform(0.35, 0.6) if rng.random() < 0.5 else rng.uniform(0.8, 1.05)
    return Piece(CABINET, (wide, deep), (Part((0, high, 0), (wide, high, deep)),))


def lamp(rng: Rng) -> Piece:
    """A ball on a pole."""
    high, radius = rng.uniform((1.2, 0.15), (1.7, 0.24))
    return Piece(
        LAMP,
        (0.2, 0.2),
        (
            Part((0, 0.02, 0), (0.15, 0.02, 0.15), paint=1),
            Part((0, high / 2, 0), (0.02, high / 2, 0.02), paint=1),
            Part((0, high, 0), radius=radius),
        ),
    )


def picture(rng: Rng) -> Piece:
    """A frame, 2 cm thick."""
    wide, half = rng.uniform((0.2, 0.18), (0.6, 0.42))
    return Piece(PICTURE, (wide, 0.01), (Part((0, rng.uniform(1.3, 1.7), 0), (wide, half, 0.01)),))


def door(rng: Rng) -> Piece:
    """A leaf in its casing, 5 cm before the wall."""
    wide, half = rng.uniform((0.4, 0.95), (0.5, 1.05))
    return Piece(DOOR, (wide, 0.025), (Part((0, half, 0), (wide, half, 0.025)),))


def window(rng: Rng) -> Piece:
    """Glass over a sill."""
    wide, half = rng.uniform((0.35, 0.35), (0.8, 0.6))
    middle = rng.uniform(1.4, 1.6)
    return Piece(
        WINDOW,
        (wide, 0.06),
        (
            Part((0, middle, 0.04), (wide, half, 0.02)),
            Part((0, middle - half, 0), (wide + 0.05, 0.03, 0.06), paint=1),
        ),
    )


def _legs(x: float, z: float, high: float, half: float) -> list[Part]:
    corners = [(i * (x - half), j * (z - half)) for i in (-1, 1) for j in (-1, 1)]
    return [Part((i, high / 2, j), (half, high / 2, half)) for i, j in corners]


AT_WALLS: tuple[Callable[[Rng], Piece], ...] = (bed, sofa, cabinet, cabinet, sofa)
"""Stand with their backs to a wall."""
ON_WALLS: tuple[Callable[[Rng], Piece], ...] = (picture, picture, window, door)
"""Hang on one, or are let into it."""
