"""What a command imports before its first step: nothing that the step can do without."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

UNNEEDED = ("sklearn", "scipy", "matplotlib", "onnx", "timm", "pandas")
RUN = """
import json, os, sys
from crdkit.engine import loop

def advance(*given):
    print(json.dumps([name for name in sys.argv[1].split() if name in sys.modules]), flush=True)
    os._exit(0)

loop.Reporter.advance = advance
from crdkit.experiments.cli import main
main(sys.argv[2:])
"""
ROOMS = (
    "--data.size",
    "32",
    "32",
    "--data.train-samples",
    "16",
    "--data.test-samples",
    "4",
    "--data.unlabeled-samples",
    "0",
    "--teacher.width",
    "8",
)


@pytest.mark.parametrize("line", [("compress",), ("ensemble",), ("crossmodal", *ROOMS)], ids=lambda x: x[0])
def test_the_first_step_waits_for_no_package_that_it_does_not_need(
    line: tuple[str, ...], tmp_path: Path
) -> None:
    words = [*line, "--cpu", "--method", "kd", "--output", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", RUN, " ".join(UNNEEDED), *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
