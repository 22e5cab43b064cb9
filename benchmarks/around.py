"""What a training spends around its steps: checkpoints, evaluations and logging, as shares of its time.

The embedded defaults, one method each, in this process; a stage's time is that from its first batch to its
results. Evaluations are what the default asks for.

    python benchmarks/around.py --output benchmarks/results/around-cpu.json
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from turns import command_line, surroundings, write

RUNS = {
    "crossmodal": ["--method", "crd-dense"],
    "compress": ["--method", "crd"],
    "ensemble": ["--method", "crd", "--teachers", "2"],
}


def timed(spent: dict[str, float], part: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """A call whose seconds are added to a part's."""

    @wraps(call)
    def measured(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*given, **named)
        finally:
            spent[part] += time.perf_counter() - began

    return measured


def watch(spent: dict[str, float]) -> None:
    """Put timers around what the engine does beside its steps."""
    from crdkit.engine import loop
    from crdkit.engine.state import TrainState
    from crdkit.engine.tracking import Reporter

    TrainState.save = timed(spent, "checkpoints", TrainState.save)  # type: ignore[method-assign]
    loop.measure = timed(spent, "evaluations", loop.measure)
    for name in ("advance", "log_step", "log_epoch"):
        setattr(Reporter, name, timed(spent, "logging", getattr(Reporter, name)))
    begin, end = Reporter.__init__, Reporter.done

    def begun(self: Any, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        self.began = time.perf_counter()

    def done(self: Any, *given: Any) -> None:
        spent["all"] += time.perf_counter() - self.began
        end(self, *given)

    Reporter.__init__, Reporter.done = begun, done  # type: ignore[method-assign, assignment]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--only", nargs="*", default=list(RUNS), help="commands to run")
    given = parser.parse_args()
    around, spent = surroundings(given), defaultdict[str, float](float)
    from crdkit.experiments import cli

    watch(spent)
    runs: list[dict[str, Any]] = []
    for command in given.only:
        spent.clear()
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["--cpu", "--seed", "0", *RUNS[command], "--output", str(Path(folder) / "run")]
            with contextlib.suppress(SystemExit):  # its code; figures that are missing would stop us below
                cli.main([command, *arguments])
        shares = {part: spent[part] / spent["all"] for part in ("checkpoints", "evaluations", "logging")}
        runs.append({"command": command, "seconds": spent["all"], **shares})
        print(runs[-1], flush=True)
    write(given.output, "around", around, runs=runs)


if __name__ == "__main__":
    main()
