"""`crdkit COMMAND …`: each command is a module with `main(arguments)`, imported when it is asked for.

crdkit crossmodal nyu-small --data.root DIR
crdkit crossmodal --help
accelerate launch experiments/crossmodal.py nyu-small --data.root DIR      the same code, the same figures
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from crdkit.common import nearest
from crdkit.experiments.invocation import tracebacks

_HERE = "crdkit.experiments"

COMMANDS = {
    "crossmodal": (f"{_HERE}.crossmodal", "transfer from one modality to another, such as RGB to depth"),
    "compress": (f"{_HERE}.compress", "one large classifier, or several, into a small one"),
    "ensemble": (f"{_HERE}.ensemble", "ensembles of several sizes into one student"),
    "teacher": (f"{_HERE}.teacher", "train an image classifier, to be a teacher"),
    "probe": (f"{_HERE}.probe", "judge frozen networks by linear probes and nearest neighbors"),
    "predict": (f"{_HERE}.predict", "what a run's network says of images, folders, arrays, videos"),
    "export": (f"{_HERE}.export", "a run's network as a file for torch alone or ONNX, compared and timed"),
    "doctor": (f"{_HERE}.doctor.examine", "what would go wrong in a run, told before it starts"),
    "report": (f"{_HERE}.report", "compare runs, or make the report of one anew"),
    "data": ("crdkit.recordings.convert", "write a data set as one compact file"),
}
"""A command's name, its module with `main(arguments)`, and what it does. A new command is a line here."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        raise SystemExit(0 if given else 2)
    name, *rest = given
    if name == "--version":
        return print(f"crdkit {version('crdkit')}")
    if name not in COMMANDS:
        print(f"crdkit: unknown command {name!r}; {nearest(name, COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    with tracebacks(rest) as words:
        code = import_module(COMMANDS[name][0]).main(words)
    raise SystemExit(code or 0)


def overview() -> str:
    """The commands, a line each."""
    rows = "\n".join(f"  {name:12}{text}" for name, (_, text) in COMMANDS.items())
    return (
        f"usage: crdkit COMMAND …\n\n{rows}\n\n"
        "`crdkit COMMAND --help` for the settings that most runs change, `--help-all` for every one.\n"
        "`--traceback`, or CRDKIT_TRACEBACK=1, prints the traceback of every error.\n"
        "The same from a clone of the repository: `accelerate launch experiments/COMMAND.py …`."
    )
