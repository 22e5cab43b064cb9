"""`--list methods|networks|presets|data`: what there is, as tables."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_type_hints

WIDTH = 110


def print_list(what: str, presets: Mapping[str, Any]) -> None:
    """Print one of the lists of `options.LISTS`.

    Args:
        presets: of the command.
    """
    rows: Iterable[Sequence[str]]
    header: Sequence[str]
    if what == "methods":
        rows = _methods()
        header = ("method", "what it is", "settings and their defaults")
    elif what == "networks":
        rows, header = _networks(), ("library", "names")
    elif what == "presets":
        rows = [(name, *_preset(config)) for name, config in presets.items()]
        header = ("preset", "data", "networks", "methods", "epochs")
    else:
        rows, header = _data(presets), ("source", "what it is")
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, WIDTH)
    console.print(table)


def _methods() -> Iterable[tuple[str, str, str]]:
    from crdkit.common import read_settings
    from crdkit.distillers import known_methods

    yield "none", "the student alone", ""
    for name, maker in known_methods().items():
        text = inspect.getdoc(getattr(maker, "func", maker)) or ""
        settings = {key: setting.default for key, setting in read_settings(maker).items()}
        listed = ", ".join(f"{key}={'none' if value is None else value}" for key, value in settings.items())
        yield name, " ".join(text.partition("\n\n")[0].split()), listed


def _networks() -> Iterable[tuple[str, str]]:
    from crdkit.models import known_networks

    for library, names in known_networks().items():
        if library == "timm" and len(names) > 100:
            text = f"{len(names)} names, each as timm/NAME, such as timm/resnet10t, timm/vit_tiny_patch16_224"
        else:
            text = ", ".join(names)
        yield library, text or "not installed"


def _preset(config: Any) -> tuple[str, str, str, str]:
    from .help import walk

    flags = {flag: value for flag, (_, value, _) in walk(config)}
    size = flags.get("data.size")
    data = str(flags.get("data.source", ""))
    if isinstance(size, tuple):
        data += f" {'x'.join(map(str, size))}"
    if "teacher.architecture" in flags:
        networks = f"{' '.join(config.teacher.architecture)} → {config.student}"
    else:
        networks = str(flags.get("architecture", ""))
    epochs = []
    for flag, value in flags.items():
        stage = flag.removesuffix(".epochs").removesuffix(".train")
        if flag.endswith(".epochs") and not (stage == "teacher" and flags.get("teacher.weights")):
            epochs.append(f"{stage} {value}")
    return data, networks, " ".join(flags.get("method", ())), ", ".join(epochs)


def _data(presets: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The sources of every kind of data that the presets have, with their descriptions."""
    from .help import field_docs

    seen = set()
    for config in presets.values():
        kind = type(config.data)
        if kind in seen:
            continue
        seen.add(kind)
        text = field_docs(kind)["source"]
        described: dict[str, str] = {}
        for part in text.split(" · "):
            names, _, about = part.partition(": ")
            described |= {name.strip("` "): about for name in names.split(",")}
        for source in get_args(get_type_hints(kind)["source"]):
            yield source, textwrap.shorten(described.get(source, ""), 300)
