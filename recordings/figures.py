"""A look at some files of every part, so that what they hold is guessed once and checked over all parts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data import METERS, DataError, Encoding, Unit, evenly_spaced
from ..data.io.arrays import Array
from ..data.io.decode import MAX_INDOOR_METRES
from ..data.io.values import among, invalid_numbers
from .folder_pairs import FolderPairs

LOOKED_AT = 32
"""Samples of a part, evenly spaced, that a survey reads."""
PIXELS = 4096
"""Numbers of a file, evenly spaced, that count in a median."""
APART = 4.0
"""Medians of one modality that differ by more than this factor are taken for two units."""
MILLIMETERS = (200, 20000)
"""Medians of integers that are taken for depth in millimeters: a fifth of a meter to 20 m."""


@dataclass(frozen=True)
class Figures:
    """What some files of one part hold for one modality, of one type: their numbers, before any unit."""

    part: str
    modality: str
    dtype: str
    channels: int
    files: int
    """That were looked at, of this type."""
    low: float
    high: float
    """The range of the numbers; without 0 and 65535 in 16 bits for depth, without NaN and infinity."""
    median: float
    spread: tuple[float, float]
    """Between which 9 of 10 numbers lie."""
    example: str
    """One of the files."""

    def __str__(self) -> str:
        channels = "" if self.channels == 1 else f" × {self.channels} channels"
        return (
            f"{self.part}: {self.dtype}{channels}, {self.low:g} to {self.high:g}, median {self.median:g} "
            f"({self.files} files such as {self.example})"
        )


def survey(parts: Mapping[str, FolderPairs], *, samples: int = LOOKED_AT) -> tuple[Figures, ...]:
    """Figures of up to `samples` evenly spaced samples of each part (train, test, unlabeled), without labels.

    Files of several types give several figures. Raises `DataError` for a file that cannot be read.
    """
    result: list[Figures] = []
    for part, dataset in parts.items():
        for modality in dataset.modalities:
            if modality == "label":
                continue
            seen: dict[tuple[str, int], list[tuple[Array, str]]] = {}
            for row in evenly_spaced(len(dataset), samples):
                numbers = dataset.stored(row, modality)
                kind = (numbers.dtype.name, 1 if numbers.ndim == 2 else numbers.shape[2])
                encoding = dataset.encodings.get(modality, Encoding())
                invalid = invalid_numbers(modality, encoding, encoding.unit, numbers.dtype)
                sample = _sampled(numbers, invalid)
                seen.setdefault(kind, []).append((sample, dataset._where(row, modality)))
            result += _figures(part, modality, seen)
    return tuple(result)


def resolve(
    encodings: Mapping[str, Encoding], figures: Sequence[Figures]
) -> tuple[dict[str, Encoding], list[str]]:
    """The encodings with their guesses made, and a line for each modality that says what was found.

    Every `auto` becomes a unit, and `stored` the type that all files must have (color may have several: each
    is over its own maximum). A unit that was given is believed; a guess is checked over all parts.

    Raises:
        DataError: as a question with the figures: files of several types, parts whose medians differ by more
            than a factor of 4 or whose ranges lie apart, depth of unknown unit.
    """
    result = dict(encodings)
    lines: list[str] = []
    for name in dict.fromkeys(f.modality for f in figures):
        own = [f for f in figures if f.modality == name]
        given = encodings.get(name, Encoding())
        unit = _guess(name, own) if given.unit == "auto" else given.unit
        types = sorted({f.dtype for f in own})
        # 12 bits in a 16-bit type and 8 bits in all of 8 would not agree: compared as [0, 1], not as stored.
        mixes = unit == "color" and all(t.startswith("uint") for t in types)
        if len(types) > 1 and not mixes:
            raise DataError(
                f"{name} is stored as {' and as '.join(types)}, which one encoding cannot read: {_all(own)}. "
                "Which is right? Store all files alike"
            )
        told = _disagreement(own, as_color=mixes)
        if told and given.unit == "auto":
            raise DataError(
                f"{name}: {told}: {_all(own)}. Are these one unit? If so, say {name}.unit={unit}; if not, "
                "convert one part"
            )
        channels = sorted({f.channels for f in own})
        if len(channels) > 1 and name != "rgb":
            raise DataError(
                f"{name} has {' and '.join(map(str, channels))} channels: {_all(own)}. Which one is it? Say "
                f"{name}.channel, or store all files alike"
            )
        # Color is over its own type's maximum, and packed24 is made of bytes whatever the numbers' type.
        keep_type = name != "rgb" and unit != "packed24" and len(types) == 1
        result[name] = replace(given, unit=unit, stored=types[0] if keep_type else given.stored)
        how = "as given" if given.unit != "auto" else f"guessed, {name}.unit changes it"
        lines.append(f"{name}: {_meaning(unit, result[name])} ({how}); {_all(own)}")
        if told:
            lines.append(f"warning: {name}: {told}, and are read as one unit ({unit}), as given")
    return result, lines


def _guess(name: str, own: Sequence[Figures]) -> Unit:
    """The unit of files that nobody named. `DataError` for depth whose numbers do not tell."""
    types = {f.dtype for f in own}
    if name == "rgb":
        return "color"
    if name != "depth":
        return "color" if all(t.startswith("uint") for t in types) else "raw"
    medians = [f.median for f in own]
    if all(t.startswith("float") for t in types) and max(medians) <= MAX_INDOOR_METRES:
        return "m"
    wide = all(t in ("uint16", "int16", "uint32", "int32") for t in types)
    if wide and all(MILLIMETERS[0] <= m <= MILLIMETERS[1] for m in medians):
        return "mm"
    if wide and len(types) == 1 and _disagreement(own, as_color=False):
        return "mm"  # which will be asked for, with the figures of both parts
    raise DataError(
        f"depth has an unknown unit: {_all(own)}. What is one stored number? Say depth.unit=m, mm, kitti, "
        "sun, or depth.unit=scale with depth.scale in meters (8 bits that reach 10 m: 0.0392)"
    )


def _disagreement(own: Sequence[Figures], *, as_color: bool) -> str:
    """What differs between parts, in words; nothing if they agree. 8-bit color has but one meaning."""
    for place, first in enumerate(own):
        for second in own[place + 1 :]:
            if as_color and first.dtype == second.dtype == "uint8":
                continue
            tops = [np.iinfo(f.dtype).max if as_color else 1 for f in (first, second)]
            low, high = sorted(f.median / top for f, top in zip((first, second), tops, strict=True))
            if low > 0 and high > APART * low:
                return f"medians differ by a factor of {high / low:.3g}"
            spans = [[x / top for x in f.spread] for f, top in zip((first, second), tops, strict=True)]
            (_, end), (start, _) = sorted(spans)
            widths = [b - a for a, b in spans]
            if min(widths) > 0 and start - end > max(widths):
                return "ranges lie apart"
    return ""


def _sampled(numbers: Array, invalid: tuple[float, ...]) -> Array:
    """Some of the numbers of a file that are readings, its lowest and highest among them."""
    flat = numbers.ravel()
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    if invalid:
        flat = flat[~among(flat, invalid)]
    if not flat.size:
        return flat
    return np.concatenate([flat[:: -(-flat.size // PIXELS)], [flat.min(), flat.max()]])


def _figures(
    part: str, modality: str, seen: Mapping[tuple[str, int], Sequence[tuple[Array, str]]]
) -> Iterator[Figures]:
    for (dtype, channels), files in seen.items():
        numbers = np.concatenate([sample for sample, _ in files]).astype(np.float64)
        if not numbers.size:
            raise DataError(f"{files[0][1]}: no pixel of {modality} has a reading, here and in the others")
        low, median, high = np.percentile(numbers, (5, 50, 95))
        yield Figures(
            part,
            modality,
            dtype,
            channels,
            len(files),
            float(numbers.min()),
            float(numbers.max()),
            float(median),
            (float(low), float(high)),
            files[0][1],
        )


def _meaning(unit: Unit, encoding: Encoding) -> str:
    if unit == "color":
        return "color over its type's maximum"
    if unit == "raw":
        return "numbers in a unit of its own"
    if unit in METERS:
        return {"m": "meters", "mm": "millimeters"}.get(unit, unit)
    return f"{unit}, times {encoding.scale:g}"


def _all(own: Iterable[Figures]) -> str:
    return "; ".join(str(f) for f in own)
