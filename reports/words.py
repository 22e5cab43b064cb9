"""What reports say in words: the data, the modalities, the teachers, the machine. No torch."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DATA = {
    "synthetic": "rendered rooms",
    "nyu": "NYU-Depth-v2",
    "digits": "handwritten digits",
    "shapes": "drawn shapes",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "stl10": "STL-10",
    "tiny-imagenet": "Tiny-ImageNet",
}
"""Sources by their names at the prompt; other data are called as their file or folder."""

MODALITIES = {"rgb": "RGB", "l": "L"}
"""Modalities that are not written as at the prompt."""


def data_in_words(data: Any, otherwise: str) -> str:
    """The name of the data of a configuration: of a known source, else of the file or folder.

    Args:
        data: with `source` and `root`, as `DataConfig` and `ImagesConfig` have them; None for no data.
    """
    source, root = getattr(data, "source", None), getattr(data, "root", None)
    if source in DATA:
        return DATA[source]
    if root is None:
        return otherwise
    # A list of pairs or a packed file is called without its ending.
    return str(
        root.resolve().stem if re.fullmatch(r"\.(h5|hdf5|csv|jsonl)", root.suffix) else root.resolve().name
    )


def modality_in_words(name: str) -> str:
    """`RGB`, `L`, and others as they are."""
    return MODALITIES.get(name, name)


def from_to(teachers: Iterable[str], student: str) -> str:
    """`RGB and depth to thermal`."""
    return f"{listed(map(modality_in_words, teachers))} to {modality_in_words(student)}"


def command_in_words(line: str) -> str:
    """A command line that others may read: without the run's folder, of absolute paths their last part."""
    words, kept = iter(shlex.split(line)), []
    for word in words:
        if word in ("--output", "--trackers"):
            next(words, None)
        elif word != "--resume" and not word.startswith("--output="):
            name, equals, value = word.partition("=")
            if equals and value.startswith(("/", "~")):
                word = f"{name}={value.rstrip('/').rpartition('/')[2]}"
            kept.append(word.rstrip("/").rpartition("/")[2] if word.startswith(("/", "~")) else word)
    return shlex.join(kept)


def environment_line(environment: Mapping[str, Any]) -> str:
    """One sentence of provenance: hardware, versions, commit, date."""
    hardware = environment["hardware"]
    cores = "1 core" if hardware["cores"] == 1 else f"{hardware['cores']} cores"
    machine = ", ".join(hardware["gpus"]) or f"{cores} of {hardware['cpu']}"
    packages = environment["packages"]
    commit = environment["commit"]
    revision = "no commit known" if commit is None else f"commit {commit[:10]}"
    if environment["dirty"]:
        revision += " with local changes"
    return (
        f"{machine}; Python {environment['python']}, torch {packages['torch']}, crdkit {packages['crdkit']}; "
        f"{revision}; {environment['date'][:10]}."
    )


def teacher_figures(teachers: Mapping[str, float] | Sequence[Mapping[str, float]]) -> str:
    """The accuracies of a teacher, or of several, in words, percent."""
    several = [teachers] if isinstance(teachers, Mapping) else teachers
    figures = (", ".join(f"{name.replace('_', ' ')} {100 * x:.2f}" for name, x in t.items()) for t in several)
    return "; ".join(figures)


def listed(names: Iterable[str]) -> str:
    """`rgb and depth`: names in words, each once."""
    return " and ".join(dict.fromkeys(names))
