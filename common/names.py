"""What to say of a name that nobody knows."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

SHOWN = 40


def nearest(name: str, known: Iterable[str], *, shown: Mapping[str, str] | None = None) -> str:
    """`did you mean resnet20?`, with up to three names near to this one; all known ones if none is near.

    Args:
        shown: what to write for each known name, if not the name.
    """
    shown = shown or {key: key for key in known}
    names = list(shown.values())
    near = [shown[key] for key in get_close_matches(name, shown, n=3, cutoff=0.5)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    more = f", … ({len(names)} in all)" if len(names) > SHOWN else ""
    return f"known: {', '.join(names[:SHOWN])}{more}"
