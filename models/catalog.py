"""The names of networks, without torch: a command knows a wrong one at once.

torchvision and timm register a network by a decorator over a function of its name. Which ones there are is
read in their sources, as importing them takes seconds.
"""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..common import UserError, nearest

CIFAR = (
    "resnet8",
    "resnet14",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnet8x4",
    "resnet32x4",
    "ResNet50",
    "wrn_16_1",
    "wrn_16_2",
    "wrn_40_1",
    "wrn_40_2",
    "vgg8",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "MobileNetV2",
    "ShuffleV1",
    "ShuffleV2",
)
"""The networks of the published benchmark."""

OWN_NAMES = (*CIFAR, "alexnet_small", "depth_cnn", "depth_cnn_half", "depth_cnn_x2")
"""The networks that are written here; that these are all is tested."""

_TORCHVISION = re.compile(r"@register_model\((?:name=\"(\w+)\")?\)\s+(?:@[^\n]*\n)*def (\w+)\(")
_TIMM = re.compile(r"@register_model\s+(?:@[^\n]*\n)*def (\w+)\(")
_TIMM_FORMER = re.compile(r"['\"](\w+)['\"]\s*:")


def known_networks() -> dict[str, tuple[str, ...]]:
    """The names of `crdkit`, `torchvision` and `timm`, each without its library."""
    return {"crdkit": OWN_NAMES, "torchvision": _torchvision(), "timm": _timm()}


def check_network(name: str) -> None:
    """Raise `ValueError` with the nearest names for one that `create` does not know.

    What cannot be looked up, as a library's sources are not there, is left to `create`.
    """
    library, _, bare = name.rpartition("/")
    if library == "" and name in OWN_NAMES:
        return
    if library in ("", "torchvision") and (not _torchvision() or bare in _torchvision()):
        return
    if library == "timm" and find_spec("timm") is None:
        raise UserError(f"{name} needs timm, which is not installed: python -m pip install timm")
    if library == "timm" and (not _timm() or bare.partition(".")[0] in (*_timm(), *_timm_former())):
        return
    raise UserError(unknown_network(name))


def unknown_network(name: str) -> str:
    """What to say of a name that nobody knows."""
    library, _, bare = name.rpartition("/")
    names = {"timm": _timm(), "torchvision": _torchvision(), "": OWN_NAMES}
    known: dict[str, str] = {}
    # Of the same name in several libraries that of the one that was asked for counts.
    for origin in sorted(names, key=lambda origin: origin == library):
        for each in names[origin]:
            is_plain = origin == "" or (origin == "torchvision" and each not in OWN_NAMES)
            known[each] = each if is_plain else f"{origin}/{each}"
    known = dict(sorted(known.items(), key=lambda item: (item[0] not in OWN_NAMES, "/" in item[1])))
    return f"no network named {name!r}: {nearest(bare, known, shown=known)}"


@cache
def _torchvision() -> tuple[str, ...]:
    found = (match for text in _sources("torchvision") for match in _TORCHVISION.findall(text))
    return tuple(sorted({given or function for given, function in found}))


@cache
def _timm() -> tuple[str, ...]:
    return tuple(sorted({name for text in _sources("timm") for name in _TIMM.findall(text)}))


@cache
def _timm_former() -> frozenset[str]:
    parts = (text.partition("register_model_deprecations(")[2] for text in _sources("timm"))
    return frozenset(name for part in parts for name in _TIMM_FORMER.findall(part))


def _sources(library: str) -> list[str]:
    spec = find_spec(library)
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "models"
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
