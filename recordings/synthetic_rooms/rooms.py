"""Synthetic RGB-D rooms: paired images with exact labels, from nothing but a seed."""

import numpy as np
import torch

from ...common import UserError
from ...data import PairedTensors
from ...data.io.arrays import Array
from ...data.io.decode import Size, check_size, require_pixels
from .furniture import CLASS_NAMES
from .render import View, render
from .scenes import draw_scene


class SyntheticRooms(PairedTensors):
    """Furnished rooms in memory: `rgb`, `depth` in meters along the optical axis, `label` of 12 classes.

    Beds, sofas, chairs, tables, cabinets and lamps are boxes and balls of such things' sizes. Pictures (2 cm
    thick) and doors (5 cm) hardly rise above the noise of the depth, and a window is a hole in it: what they
    are only color shows. Color has sensor noise; depth has that of a structured-light camera, which grows
    with the square of the distance (Nguyen, Izadi & Lovell, 2012), its steps of disparity (7 cm at 5 m;
    Khoshelham & Elberink, 2012), and holes: in glass, beside edges, at grazing angles and at random. Scene
    `i` depends on `(seed, i)` alone, so a longer set begins with a shorter one, and sets of different seeds
    are independent: use one for training and another for testing.

    Args:
        num_samples: how many; 2,000 at 96×128 take some seconds.
        seed: of the scenes and of the noise, not negative.
        size: (height, width) in pixels.
        noise: strength of both sensors' noise and of the holes; 0 for the exact rendering.
    """

    def __init__(self, num_samples: int, *, seed: int, size: Size = (96, 128), noise: float = 1.0) -> None:
        if num_samples < 1:
            raise UserError(f"num_samples must be positive, got {num_samples}")
        if seed < 0:
            raise UserError(f"seed must not be negative, got {seed}")
        if noise < 0:
            raise UserError(f"noise must not be negative, got {noise}")
        checked = check_size(size)
        assert checked is not None
        require_pixels(num_samples, checked, each=3 + 4 + 1)
        rgb = np.empty((num_samples, 3, *checked), np.uint8)
        depth = np.empty((num_samples, 1, *checked), np.float32)
        label = np.empty((num_samples, *checked), np.uint8)
        for index in range(num_samples):
            rng = np.random.default_rng((seed, index))
            view = render(draw_scene(rng), checked)
            rgb[index] = _photograph(view, rng, noise).transpose(2, 0, 1)
            depth[index, 0] = _measure(view, rng, noise)
            label[index] = view.label
        super().__init__(
            rgb=torch.from_numpy(rgb), depth=torch.from_numpy(depth), label=torch.from_numpy(label)
        )
        self.num_classes = len(CLASS_NAMES)
        self.class_names = CLASS_NAMES


def _photograph(view: View, rng: np.random.Generator, noise: float) -> Array:
    """(H, W, 3) uint8: the color with Gaussian noise of some 2 % of the range."""
    grain = rng.standard_normal(view.color.shape, np.float32)
    return np.asarray(((view.color + noise * 0.02 * grain).clip(0, 1) * 255 + 0.5).astype(np.uint8))


STEP = 0.00285
"""Of the disparity, in 1/m: a structured-light camera's depth comes in steps of this times its square."""


def _measure(view: View, rng: np.random.Generator, noise: float) -> Array:
    """(H, W) meters: axial noise, steps of disparity, then holes where the pattern of such a camera gets
    lost."""
    depth = view.depth
    grain, chance = rng.standard_normal(depth.shape, np.float32), rng.random(depth.shape, np.float32)
    if noise == 0:
        return depth
    spread = 0.0012 + 0.0019 * np.square(depth - 0.4)
    measured = np.maximum(depth + noise * spread * grain, 0.05)
    step = np.float32(STEP * noise)
    measured = 1 / (np.maximum(np.round(1 / (measured * step)), 1) * step)
    # The projector's shadow lies beside the nearer surface.
    shadow = np.zeros(depth.shape, bool)
    shadow[:, 1:] = depth[:, 1:] - depth[:, :-1] > 0.05 * depth[:, :-1]
    share = np.where(shadow, 0.7, np.where(view.slant < 0.1, 0.4, 0.01))
    return np.where(chance < noise * np.maximum(share, view.lost), np.float32(0), measured)
