"""What the tests of the commands share."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "experiments"
LIMIT = 900.0


@pytest.fixture
def kill_in() -> Callable[..., None]:
    """Starts a script and ends it with SIGKILL once a stage has a whole checkpoint and is not finished.

    `kill_in(stage, script, *arguments, folder=…)`: the stage's folder, the script's name, its command line
    and the working folder. Fails if the run ends first, or had finished the stage when it died.
    """

    def run(stage: Path, script: str, *arguments: str, folder: Path) -> None:
        command = [sys.executable, str(SCRIPTS / script), *arguments]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + LIMIT
            while not list(stage.glob("checkpoints/checkpoint-*/manifest.json")):
                assert process.poll() is None, "the run ended before it could be killed"
                assert time.monotonic() < deadline, f"no checkpoint in {stage}"
                time.sleep(0.002)
        finally:
            process.kill()
            process.wait()
        assert not (stage / "history.json").exists(), "killed too late to prove anything"

    return run
