"""How the stored numbers of a modality become values; imports no torch, so that settings may hold it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ..common import UserError, nearest

Unit: TypeAlias = Literal["auto", "color", "raw", "scale", "m", "mm", "kitti", "sun", "packed24", "disparity"]
Transform: TypeAlias = Literal["none", "log", "inverse"]
Fit: TypeAlias = Literal["crop", "pad", "stretch"]

WITHOUT_HOLES = frozenset({"rgb", "gray", "l", "ab"})
"""Modalities of light, which have a value at every pixel."""
METERS = frozenset({"m", "mm", "kitti", "sun", "disparity"})
"""Units that are distances, so that a stored 0 is no reading."""
SCALED = frozenset({"scale", "packed24", "disparity"})


@dataclass(frozen=True)
class Encoding:
    """What the files of one modality hold. `Encoding()` leaves everything to the type of the files.

    Raises:
        ValueError: a unit, transform or fit that nobody knows, a number out of range, `scale` or
            `focal_baseline` with a unit that takes none, or without them one that needs them.
    """

    unit: Unit = "auto"
    """`color`: [0, 1], integers over their type's maximum · `raw`: numbers as they are (°C, K, counts) ·
    `scale`: numbers times `scale` · `m`, `mm` · `kitti`: 1/256 m · `sun`: SUN RGB-D's 16 bits, rotated by
    three, in mm · `packed24`: R + 256 G + 65536 B, times `scale` · `disparity`: `focal_baseline` over the
    number times `scale` · `auto`: `m` for depth in floats, `raw` for other floats and signed integers,
    `color` for the rest; depth in integers has no default."""
    scale: float | None = None
    """Meters, or the modality's own unit, for each stored number."""
    focal_baseline: float | None = None
    """`disparity`: focal length in pixels times baseline in meters."""
    channel: int | None = None
    """The one channel of the file to read, from 0: 3 for the thermal channel of an RGB-T PNG."""
    invalid: tuple[float, ...] | None = None
    """Stored numbers that are no reading. Absent: 0 for distances, and 65535 for those in 16 bits. NaN and
    infinity never are one."""
    clip: tuple[float, float] | None = None
    """Lowest and highest value, in the unit's values; those beyond are moved to them."""
    transform: Transform = "none"
    """After `clip`: `log` is ln(1 + value), `inverse` is 1 / value, in which 0 is no reading."""
    values: tuple[int, ...] | None = None
    """`label`: the stored values in the order of the classes, such as 0, 255 for a two-valued mask."""
    fit: Fit | None = None
    """What to do with a picture of another aspect than the first modality's: `crop` it at the center, `pad`
    it with pixels that do not count, `stretch` it. Absent: it is refused."""
    homography: Path | None = None
    """A file (text, .npy, .json) with the 3×3 matrix that takes the modality's pixels (x, y, 1) to those of
    the first modality."""
    stored: str | None = None
    """The type of the files, such as `uint16`; another is refused. `resolve` fills it in."""

    def __post_init__(self) -> None:
        for key, kind in (("unit", Unit), ("transform", Transform)):
            _one_of(key, getattr(self, key), get_args(kind))
        if self.fit is not None:
            _one_of("fit", self.fit, get_args(Fit))
        for key in ("scale", "focal_baseline"):
            number = getattr(self, key)
            if number is not None and not 0 < number < math.inf:
                raise UserError(f"{key} must be a positive number, got {number}")
        if self.scale is not None and self.unit not in SCALED:
            raise UserError(f"scale goes with the units {', '.join(sorted(SCALED))}, not with {self.unit}")
        if self.scale is None and self.unit in ("scale", "packed24"):
            raise UserError(f"unit={self.unit} needs scale, the value of one stored number")
        if (self.focal_baseline is None) == (self.unit == "disparity"):
            raise UserError("focal_baseline (pixels times meters) goes with unit=disparity, and it alone")
        if self.channel is not None and self.channel < 0:
            raise UserError(f"channel must be 0 or more, got {self.channel}")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise UserError(f"clip must be two rising numbers, got {self.clip}")
        if self.values is not None and not 0 < len(set(self.values)) == len(self.values) <= 255:
            raise UserError(f"values must be 1 to 255 different numbers, got {self.values}")
        if self.fit is not None and self.homography is not None:
            raise UserError("fit and homography exclude each other: the homography says where pixels lie")


def parse_encodings(settings: Iterable[str]) -> dict[str, Encoding]:
    """`NAME.KEY=VALUE` to encodings by modality, such as `depth.unit=mm`, `label.values=0,255`.

    Numbers that belong together are separated by commas. `NAME.scale=…` alone means `unit=scale`.

    Raises:
        ValueError: another form, an unknown key or value (the nearest names are told), a key given twice.
    """
    given: dict[str, dict[str, Any]] = {}
    for setting in settings:
        target, equals, text = setting.partition("=")
        name, dot, key = target.strip().rpartition(".")
        if not (equals and dot and name):
            raise UserError(f"{setting!r} is not of the form NAME.KEY=VALUE, such as depth.unit=mm")
        if key not in _READERS:
            raise UserError(f"{setting!r}: no encoding has the key {key!r}; {nearest(key, _READERS)}")
        values = given.setdefault(name, {})
        if key in values:
            raise UserError(f"{name}.{key} is given twice")
        try:
            values[key] = _READERS[key](text.strip())
        except ValueError:
            raise UserError(f"{setting!r}: {text!r} is not what {key} takes") from None
    return {name: _make(name, values) for name, values in given.items()}


def check_encodings(encodings: Mapping[str, Encoding], modalities: Iterable[str]) -> None:
    """Raise `ValueError` for an encoding of no modality, or one that its modality cannot have."""
    names = list(modalities)
    for name, encoding in encodings.items():
        if name not in names:
            raise UserError(f"an encoding of {name!r}, which is no modality; {nearest(name, names)}")
        if name == "label":
            allowed = {"channel", "invalid", "values", "fit", "homography", "stored"}
        else:
            allowed = {field.name for field in fields(Encoding)} - {"values"}
        changed = {key for key in vars(encoding) if getattr(encoding, key) != getattr(Encoding(), key)}
        if wrong := sorted(changed - allowed):
            raise UserError(f"{name}.{wrong[0]}: a {name} has none; it has {', '.join(sorted(allowed))}")
        if name in WITHOUT_HOLES and (encoding.unit not in ("auto", "color") or encoding.invalid):
            raise UserError(f"{name} is color, without holes; for numbers in a unit give it another name")
        if encoding.unit == "color" and (encoding.invalid or encoding.clip or encoding.transform != "none"):
            raise UserError(f"{name}: invalid, clip and transform need a unit of its own, such as raw")
        if name == "depth" and encoding.unit in ("color", "raw"):
            raise UserError(
                f"depth is in meters, got depth.unit={encoding.unit}; for another unit give the modality "
                "another name"
            )


def with_depth_scale(
    encodings: Mapping[str, Encoding] | None, depth_scale: float | None
) -> dict[str, Encoding]:
    """The encodings with `depth_scale`, meters a unit, as that of `depth`. `ValueError` if both are given."""
    result = dict(encodings or {})
    if depth_scale is not None:
        if not depth_scale > 0:
            raise UserError(f"depth_scale must be positive, got {depth_scale}")
        depth = result.get("depth", Encoding())
        if depth.unit != "auto":
            raise UserError(f"depth_scale and depth.unit={depth.unit} exclude each other: give one")
        result["depth"] = replace(depth, unit="scale", scale=depth_scale)
    return result


def _make(name: str, values: dict[str, Any]) -> Encoding:
    if "scale" in values and "unit" not in values:
        values = {"unit": "scale", **values}
    try:
        return Encoding(**values)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{key}={value} is unknown; {nearest(str(value), known)}")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _two_numbers(text: str) -> tuple[float, float]:
    low, high = _numbers(text)
    return low, high


_READERS: Mapping[str, Any] = {
    "unit": str,
    "scale": float,
    "focal_baseline": float,
    "channel": int,
    "invalid": _numbers,
    "clip": _two_numbers,
    "transform": str,
    "values": _integers,
    "fit": str,
    "homography": Path,
    "stored": str,
}
"""Key to what reads its text."""
