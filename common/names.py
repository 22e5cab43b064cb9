"""What to say of a name that nobody knows."""

from collections.abc import Iterable
from difflib import get_close_matches

SHOWN = 40


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean resnet20?`, with up to three names near to this one; all known ones if none is near."""
    names = list(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    more = f", … ({len(names)} in all)" if len(names) > SHOWN else ""
    return f"known: {', '.join(names[:SHOWN])}{more}"
