"""Writes files as a camera beside another sensor leaves them, for the worked examples of docs/sensors.md.

    python docs/sensors.py thermal DIR     RGB in 8-bit PNG, thermal in 16-bit PNG of centikelvin, smaller
    python docs/sensors.py events DIR      RGB in 8-bit PNG, counts of brightness events in .npy, two channels

Both are made of rendered rooms: warm things stand in cool rooms; events are what a small turn of the camera
gives. Frames of one recording lie in one folder; there are no labels.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crdkit.recordings import SyntheticRooms

CELSIUS = np.array([19.0, 22.0, 20.0, 24.0, 23.0, 21.5, 21.0, 20.5, 33.0, 20.0, 19.5, 16.0])
"""Of the classes of `SyntheticRooms`: lamps are warm and windows cold."""
THERMAL_SIZE = (60, 80)
THRESHOLD = 0.15
"""Change of the logarithm of brightness that makes an event (Gallego et al., 2020)."""
FRAMES = 10
"""Of a recording."""


def thermal(
    label: NDArray[np.uint8], depth: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.uint16]:
    """(60, 80) centikelvin: each thing at its temperature, blurred, 2 cK of noise; the air takes a little."""
    kelvin = 273.15 + CELSIUS[label] + rng.normal(0, 1) - 0.1 * depth
    small = cv2.resize(kelvin.astype(np.float32), THERMAL_SIZE[::-1], interpolation=cv2.INTER_AREA)
    measured = 100 * cv2.GaussianBlur(small, (0, 0), 0.7) + rng.normal(0, 2, small.shape)
    return measured.round().astype(np.uint16)


def events(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.int16]:
    """(H, W, 2) counts of rises and of falls of brightness while the picture moves by 1 to 3 pixels."""
    light = np.log(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) + 20)
    shift = rng.choice([-1, 1]) * rng.uniform(1, 3)
    moved = cv2.warpAffine(
        light, np.array([[1, 0, shift], [0, 1, 0]]), light.shape[::-1], borderMode=cv2.BORDER_REPLICATE
    )
    counts = (moved - light) / THRESHOLD
    return np.stack([counts.clip(0), (-counts).clip(0)], axis=2).astype(np.int16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sensor", choices=("thermal", "events"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recordings", type=int, default=60)
    given = parser.parse_args()
    rooms = SyntheticRooms(given.recordings * FRAMES, seed=7)
    rng = np.random.default_rng(7)
    for index in range(len(rooms)):
        rgb, depth, label = (rooms.tensors[name][index].numpy() for name in ("rgb", "depth", "label"))
        rgb = np.ascontiguousarray(rgb.transpose(1, 2, 0))
        name = f"recording-{index // FRAMES:02}/{index:05}"
        paths = [given.folder / modality / name for modality in ("rgb", given.sensor)]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f"{paths[0]}.png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        if given.sensor == "thermal":
            cv2.imwrite(f"{paths[1]}.png", thermal(label, depth[0], rng))
        else:
            np.save(f"{paths[1]}.npy", events(rgb, rng))
    print(f"{len(rooms)} frames of {given.recordings} recordings in {given.folder}")


if __name__ == "__main__":
    main()
