"""Measure each command's embedded default from its start to its end, beside another checkout.

    python benchmarks/defaults.py --before CHECKOUT --output benchmarks/results/defaults-cpu.json

CHECKOUT is another checkout, such as a `git worktree` of an earlier commit; the two take turns. Times are
medians, in seconds, of the clock and of the CPU's time in the process. What a default trains may have changed
between the two; this says how long somebody waits who types the command.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from first_step import EMBEDDED, Spent, ended, middle
from startup import ROOT, commit_of, environment
from turns import command_line, surroundings, write


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--rounds", type=int, default=1, help="of each command")
    parser.add_argument("--only", nargs="+", choices=EMBEDDED, default=list(EMBEDDED), help="some commands")
    given = parser.parse_args()
    around = surroundings(given)
    versions = {"after": ROOT}
    if given.before is not None:
        versions = {"before": given.before.resolve(), **versions}
    commits = {version: commit_of(root) for version, root in versions.items()}
    cases = []
    with tempfile.TemporaryDirectory() as place:
        for name in given.only:
            taken: dict[str, list[Spent]] = {version: [] for version in versions}
            for _ in range(given.rounds):
                for version, root in versions.items():
                    output = Path(tempfile.mkdtemp(dir=place)) / "run"
                    line = [sys.executable, str(root / "experiments" / f"{name}.py"), "--cpu"]
                    surrounding = environment(root, Path(place))
                    taken[version].append(ended([*line, "--output", str(output)], surrounding))
                    if not (output / "results.json").is_file():
                        raise SystemExit(f"{' '.join(line)} of {root} did not end with results")
            found = {version: middle(times)._asdict() for version, times in taken.items()}
            cases.append({"case": name, **found})
            print(cases[-1])
            write(given.output, "defaults", around, commits=commits, cases=cases, n=given.rounds)


if __name__ == "__main__":
    main()
