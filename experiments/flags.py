"""Flags of earlier releases: they go on working, and one DeprecationWarning says what they are called now."""

import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Literal

COMPRESS, ENSEMBLE, CROSSMODAL = "compress.py", "ensemble.py", "crossmodal.py"

RENAMED: tuple[tuple[tuple[str, ...], str, str], ...] = (
    ((ENSEMBLE,), r"members\.(.*)", r"teacher.\1"),
    ((COMPRESS, ENSEMBLE), r"train\.(.*)", r"transfer.train.\1"),
    ((), r"(.*\.)learning-rate", r"\1lr"),
    ((COMPRESS, ENSEMBLE), r"student-rate", "student-lr"),
    ((ENSEMBLE,), r"draw", "subset-seed"),
    ((ENSEMBLE,), r"(no-)?(share-student)", r"transfer.\1\2"),
    ((ENSEMBLE,), r"(reduction|cache)", r"transfer.\1"),
    ((ENSEMBLE,), r"views", "transfer.cached-augmentations"),
    ((CROSSMODAL,), r"transfer\.views", "transfer.cached-augmentations"),
    ((CROSSMODAL,), r"data\.teacher-(view|modality)", "teacher.modality"),
    ((CROSSMODAL,), r"data\.student-(view|modality)", "student-modality"),
)
"""Scripts (none: all), a former name, and today's; each row is applied to what the rows above it gave."""

_CONTRASTS = ("crd", "crd-local", "crd-dense")
SETTINGS = {
    **{
        f"transfer.{name.replace('_', '-')}": tuple(f"{method}.{name}" for method in _CONTRASTS)
        for name in ("temperature", "embed_dim", "objective")
    },
    **{
        f"transfer.{name.replace('_', '-')}": (f"crd.{name}",)
        for name in ("num_negatives", "momentum", "negatives")
    },
    "transfer.queue-size": ("crd-dense.queue_size",),
    "transfer.num-positions": ("crd-dense.num_positions",),
    "transfer.global-queue-size": ("crd-local.queue_size",),
    "transfer.kd-temperature": ("kd.temperature",),
    "transfer.kd-weight": ("kd.weight",),
    "transfer.at-weight": ("at.weight",),
    "transfer.fitnet-weight": ("fitnet.weight",),
    "transfer.crd-weight": tuple(f"{method}.weight" for method in _CONTRASTS),
}
"""Former flags of crossmodal.py, and the distillers' settings that have their value now."""

SIZE_OF = "data.size."


def current(script: str, arguments: Sequence[str]) -> list[str]:
    """A command line with today's flags in the place of former ones, all its settings in one `--setting` and
    the sizes of single modalities (`--data.size.rgb 224 224`) in one `--data.sizes`.

    Former flags are told in one DeprecationWarning; it is shown unless `python -W` says otherwise.

    Args:
        script: the file's name, such as `compress.py`.
        arguments: flags as `--flag value` or `--flag=value`, with dashes or underscores.
    """
    kept: list[str] = []
    settings: list[str] = []
    sizes: list[str] = []
    told: dict[str, str] = {}
    modalities, is_reversed = ["l", "ab"], False
    for flag, tokens in _groups(arguments):
        name, values = _parts(flag, tokens)
        if name == "setting":
            settings += values
        elif name.startswith(SIZE_OF):
            sizes += [name.removeprefix(SIZE_OF), *values]
        elif script == CROSSMODAL and name in SETTINGS and len(values) == 1:
            given = [f"{setting}={values[0]}" for setting in SETTINGS[name]]
            settings += given
            told[f"--{name}"] = f"--setting {' '.join(given)}"
        elif script == CROSSMODAL and name == "views" and [v.count(":") for v in values] == [1]:
            modalities = values[0].split(":")
            told["--views"] = ""
        elif script == CROSSMODAL and name in ("reverse", "no-reverse") and not values:
            is_reversed = name == "reverse"
            told[f"--{name}"] = ""
        elif (renamed := _rename(script, name)) != name:
            kept += [f"--{renamed}", *values]
            told[f"--{name}"] = f"--{renamed}"
        else:
            kept += tokens
    if "" in told.values():
        teacher, student = modalities[::-1] if is_reversed else modalities
        pair = ["--teacher.modality", teacher, "--student-modality", student]
        kept += pair
        told |= dict.fromkeys((old for old, new in told.items() if not new), " ".join(pair))
    if sizes:
        kept += ["--data.sizes", *sizes]
    if settings:
        kept += ["--setting", *settings]
    if told:
        _warn(script, (f"{old} is now {new}" for old, new in told.items()))
    return kept


def _groups(arguments: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Each flag with its tokens: itself and the values after it; "" for what stands before the first."""
    groups: list[tuple[str, list[str]]] = []
    for token in arguments:
        if re.match(r"--?[A-Za-z]", token):
            groups.append((token, [token]))
        elif groups:
            groups[-1][1].append(token)
        else:
            groups.append(("", [token]))
    return groups


def _parts(flag: str, tokens: list[str]) -> tuple[str, list[str]]:
    name, equals, value = flag.partition("=")
    return name.removeprefix("--").replace("_", "-"), [*([value] if equals else []), *tokens[1:]]


def _rename(script: str, name: str) -> str:
    for scripts, former, today in RENAMED:
        if not scripts or script in scripts:
            name = re.sub(rf"^{former}$", today, name)
    return name


def _warn(script: str, changes: Iterable[str]) -> None:
    with warnings.catch_warnings():
        if not sys.warnoptions:  # Python hides this kind unless asked; one process of several is enough
            action: Literal["always", "ignore"] = "ignore" if int(os.environ.get("RANK", 0)) else "always"
            warnings.simplefilter(action, DeprecationWarning)
        warnings.warn(f"{script}: {'; '.join(changes)}", DeprecationWarning, stacklevel=3)
