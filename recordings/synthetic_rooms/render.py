"""A ray caster for `Scene`: exact depth, class and shaded color of every pixel, in numpy."""

from typing import NamedTuple

import numpy as np

from ...data.io.arrays import Array
from ...data.io.decode import Size
from .scenes import GLOSSY, Scene


class View(NamedTuple):
    """What an ideal camera sees."""

    color: Array
    """(H, W, 3) float32 in [0, 1]"""
    depth: Array
    """(H, W) float32, meters along the optical axis"""
    label: Array
    """(H, W) uint8"""
    slant: Array
    """(H, W) float32, cosine between the ray and the surface's normal, in [0, 1]"""
    lost: Array
    """(H, W) float32, share of a depth camera's readings that the surface lets through"""


class _Hits(NamedTuple):
    depth: Array  # (P,) meters along the optical axis
    surface: Array  # (P,) number of the surface
    normal: Array  # (3, P)
    uv: Array  # (2, P) meters along the surface; turns on a ball


def render(scene: Scene, size: Size) -> View:
    """Cast one ray a pixel. Deterministic: the same scene gives the same bits on one machine."""
    rays = _rays(scene, size)
    hits = _room(scene, rays)
    for number, box in enumerate(scene.boxes):
        _hit_box(hits, rays, scene.camera, box, 3 + number)
    for number, ball in enumerate(scene.balls):
        _hit_ball(hits, rays, scene.camera, ball, 3 + len(scene.boxes) + number)
    color = _shade(scene, rays, hits)
    slant = np.abs((rays * hits.normal).sum(0)) / np.sqrt((rays * rays).sum(0))
    return View(
        color=color.T.reshape(*size, 3),
        depth=hits.depth.reshape(size),
        label=scene.classes[hits.surface].reshape(size),
        slant=slant.reshape(size),
        lost=scene.lost[hits.surface].reshape(size),
    )


def _rays(scene: Scene, size: Size) -> Array:
    """Directions (3, P), of length 1 along the optical axis: a ray's parameter is then the depth."""
    height, width = size
    reach = np.tan(scene.field_of_view / 2)
    x = ((np.arange(width) * 2 + 1) / width - 1) * reach
    y = -((np.arange(height) * 2 + 1) / height - 1) * reach * height / width
    right, up = (axis.ravel() for axis in np.meshgrid(x, y))
    sin_p, cos_p, sin_y, cos_y = (
        np.sin(scene.pitch),
        np.cos(scene.pitch),
        np.sin(scene.yaw),
        np.cos(scene.yaw),
    )
    ahead = cos_p - up * sin_p
    rays = np.stack([right * cos_y + ahead * sin_y, sin_p + up * cos_p, ahead * cos_y - right * sin_y])
    # No component is exactly 0, so that slabs can be divided by it.
    return np.where(np.abs(rays) < 1e-6, 1e-6, rays).astype(np.float32)


def _room(scene: Scene, rays: Array) -> _Hits:
    """The shell seen from inside."""
    room, camera = scene.room.astype(np.float32), scene.camera.astype(np.float32)
    far = rays > 0
    distance = np.where(far, room[:, None] - camera[:, None], -camera[:, None]) / rays
    axis = distance.argmin(0)
    columns = np.arange(rays.shape[1])
    depth = distance[axis, columns]
    point = camera[:, None] + rays * depth
    side = far[axis, columns]
    normal = np.zeros_like(rays)
    normal[axis, columns] = np.where(side, -1, 1)
    surface = np.where(axis == 1, np.where(side, 1, 0), 2)
    uv = np.stack([np.where(axis == 0, point[2], point[0]), np.where(axis == 1, point[2], point[1])])
    return _Hits(depth, surface, normal, uv)


def _hit_box(hits: _Hits, rays: Array, camera: Array, box: Array, surface: int) -> None:
    """Write the pixels where the box is in front (slab method, in the box's own frame)."""
    cos, sin = np.float32(np.cos(box[6])), np.float32(np.sin(box[6]))
    half = box[3:6].astype(np.float32)
    offset = camera - box[:3]
    origin = np.array(
        [cos * offset[0] - sin * offset[2], offset[1], sin * offset[0] + cos * offset[2]], np.float32
    )
    # Only the rays within the sphere around the box can meet it.
    near = np.flatnonzero(_within(rays, offset, float((half**2).sum())))
    if not near.size:
        return
    ray = rays[:, near]
    local = np.stack([cos * ray[0] - sin * ray[2], ray[1], sin * ray[0] + cos * ray[2]])
    local = np.where(np.abs(local) < 1e-6, np.float32(1e-6), local)
    enter = (-np.sign(local) * half[:, None] - origin[:, None]) / local
    leave = (np.sign(local) * half[:, None] - origin[:, None]) / local
    depth = enter.max(0)
    hit = (depth < leave.min(0)) & (depth > 0) & (depth < hits.depth[near])
    if not hit.any():
        return
    pixels, local, depth, axis = near[hit], local[:, hit], depth[hit], enter.argmax(0)[hit]
    point = origin[:, None] + local * depth
    out = np.zeros_like(local)
    out[axis, np.arange(len(axis))] = -np.sign(local[axis, np.arange(len(axis))])
    hits.depth[pixels] = depth
    hits.surface[pixels] = surface
    hits.normal[:, pixels] = np.stack([cos * out[0] + sin * out[2], out[1], cos * out[2] - sin * out[0]])
    hits.uv[:, pixels] = np.where(axis == 0, point[2], point[0]), np.where(axis == 1, point[2], point[1])


def _hit_ball(hits: _Hits, rays: Array, camera: Array, ball: Array, surface: int) -> None:
    """Write the pixels where the ball is in front."""
    offset = camera - ball[:3]
    near = np.flatnonzero(_within(rays, offset, float(ball[3] ** 2)))
    if not near.size:
        return
    ray = rays[:, near].astype(np.float64)
    a, b, c = (ray * ray).sum(0), offset @ ray, offset @ offset - ball[3] ** 2
    depth = (-b - np.sqrt(np.maximum(b * b - a * c, 0))) / a
    hit = (depth > 0) & (depth < hits.depth[near])
    pixels, depth = near[hit], depth[hit]
    normal = (offset[:, None] + ray[:, hit] * depth) / ball[3]
    hits.depth[pixels] = depth
    hits.surface[pixels] = surface
    hits.normal[:, pixels] = normal
    hits.uv[:, pixels] = (
        np.arctan2(normal[0], normal[2]) / np.pi,
        np.arcsin(normal[1].clip(-1, 1)) * 2 / np.pi,
    )


def _within(rays: Array, offset: Array, radius_squared: float) -> Array:
    """(P,) whether a ray passes the center, which lies at -offset, closer than the radius."""
    along = offset.astype(np.float32) @ rays
    length = (rays * rays).sum(0)
    return np.asarray((along < 0) & (along * along > length * np.float32(offset @ offset - radius_squared)))


def _shade(scene: Scene, rays: Array, hits: _Hits) -> Array:
    """(3, P) paint times light: ambient, and a lamp that falls off with the distance."""
    paint = scene.paint.astype(np.float32)[hits.surface]
    u, v = hits.uv.astype(np.float32)
    phase, grain = paint[:, 10], paint[:, 11]
    across, up = np.floor(u * paint[:, 6] + phase), np.floor(v * paint[:, 7] + phase)
    mix = (across * paint[:, 8] + up * paint[:, 9]) % 2
    color = paint[:, :3] + (paint[:, 3:6] - paint[:, :3]) * mix[:, None]
    # Grain runs along u and differs from stripe to stripe; the constants only decorrelate.
    color = color + (grain * np.sin(40 * v + 3 * np.sin(5 * u) + 12.9898 * across))[:, None]

    to_light = scene.light[:, None].astype(np.float32) - (
        scene.camera[:, None].astype(np.float32) + rays * hits.depth
    )
    distance = np.sqrt((to_light * to_light).sum(0))
    facing = (to_light * hits.normal).sum(0) / distance
    diffuse = np.maximum(facing, 0) / (1 + 0.08 * distance * distance)
    shine = np.where(np.isin(scene.classes[hits.surface], GLOSSY), 0.25, 0.0)
    light = 0.45 + 0.75 * diffuse
    shaded = color.T * light + shine * np.maximum(facing, 0) ** 24
    return np.clip(shaded, 0, 1).astype(np.float32)
