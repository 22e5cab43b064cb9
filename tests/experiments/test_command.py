"""Command line, run folder and the course of a run, without a pipeline."""

import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from crdkit.common import LOCK, OutputError
from crdkit.experiments.checks import check_folder
from crdkit.experiments.command import parse
from crdkit.experiments.invocation import shows_traceback, tracebacks
from crdkit.experiments.options import merge_flags
from crdkit.experiments.session import run_folder, write_config


@dataclass(frozen=True)
class Config:
    """A configuration as those of the pipelines."""

    method: tuple[str, ...] = ("none", "kd")
    setting: tuple[str, ...] = ()
    output: Path | None = None
    resume: bool = False
    precision: str | None = None
    cpu: bool = True
    trackers: tuple[str, ...] = ()
    keep: str = "best"


PRESETS = {"digits": Config(), "cifar100": Config(setting=("kd.temperature=4", "crd.momentum=0.5"))}


def parsed(*arguments: str, default: str = "digits") -> tuple[str, Config]:
    return parse("compress", list(arguments), PRESETS, default=default, description="A test.")


def test_settings_of_the_preset_stay_below_those_of_the_prompt(tmp_path: Path) -> None:
    assert parsed() == ("digits", Config())
    preset, config = parsed("cifar100", "--setting", "kd.temperature=2", "--setting", "at.weight=1")
    assert preset == "cifar100"
    assert config.setting == ("kd.temperature=4", "crd.momentum=0.5", "kd.temperature=2", "at.weight=1")
    write_config(config, tmp_path / "new")
    found = yaml.safe_load((tmp_path / "new" / "config.yaml").read_text())
    assert found["setting"] == list(config.setting) and found["output"] is None
    assert parsed("cifar100", "--cpu")[1].setting == PRESETS["cifar100"].setting
    assert parsed("--setting", "kd.temperature=2")[1].setting == ("kd.temperature=2",)


def test_unknown_presets_are_answered_with_the_nearest() -> None:
    with pytest.raises(SystemExit, match=r"'cifar10'.*cifar100"):
        parsed("cifar10")
    with pytest.raises(SystemExit, match=r"'zzz'.*digits, cifar100"):
        parsed("zzz")


def test_sizes_of_single_modalities_are_one_mapping() -> None:
    given = [
        "--data.size",
        "96",
        "128",
        "--data.size.rgb",
        "224",
        "224",
        "--cpu",
        "--data.size.my_depth=48",
        "64",
    ]
    wanted = [
        "--data.size",
        "96",
        "128",
        "--cpu",
        "--data.sizes",
        "rgb",
        "224",
        "224",
        "my_depth",
        "48",
        "64",
    ]
    assert merge_flags(given) == wanted
    unchanged = ["stray", "--method", "crd+0.5*kd", "none", "--transfer.train.lr", "-1", "-h", "--root=a=b"]
    assert merge_flags(unchanged) == unchanged


FAULTY = """
import sys
from crdkit.common import UserError
from crdkit.experiments import scenario
from crdkit.experiments.cli import main

def run(*given, **named):
    if kind == "user":
        raise UserError("depth is 3")
    int("not a number")

scenario.run = run
kind, *given = sys.argv[1:]
sys.argv = ["/venv/bin/crdkit", "compress", *given]
main(["compress", *given])
"""
"""A command whose run raises an error of the user's, or one of the program's."""


def failing(kind: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FAULTY, kind, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def test_an_error_of_the_program_keeps_its_traceback_and_names_the_command_that_repeats_it() -> None:
    done = failing("program", "--cpu", "--seed", "3")
    assert done.returncode == 1 and done.stderr.startswith("Traceback")
    *_, error, note = done.stderr.splitlines()
    assert error.startswith("ValueError: ") and "'not a number'" in error
    assert note == "repeat with: crdkit compress --cpu --seed 3"


def test_an_error_of_the_user_is_one_line_and_a_traceback_where_it_is_asked_for() -> None:
    done = failing("user", "--cpu", CRDKIT_TRACEBACK="0")
    assert (done.returncode, done.stderr) == (1, "crdkit compress: depth is 3\n")
    for done in (failing("user", "--traceback", "--cpu"), failing("user", "--cpu", CRDKIT_TRACEBACK="1")):
        assert done.returncode == 1 and done.stderr.startswith("Traceback")
        assert done.stderr.count("UserError: depth is 3") == 1
        assert done.stderr.splitlines()[-1] == "crdkit compress: depth is 3"
    typed = failing("user", "--setting", "crd.temperature=-1", "--traceback")
    assert (
        typed.returncode == 2 and "Traceback" in typed.stderr and "UserError: crd.temperature" in typed.stderr
    )


def test_the_wish_for_tracebacks_ends_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("0", "1"):
        monkeypatch.setenv("CRDKIT_TRACEBACK", before)
        with tracebacks(["--cpu", "--traceback"]) as rest:
            assert rest == ["--cpu"] and shows_traceback()
        assert os.environ["CRDKIT_TRACEBACK"] == before
        with tracebacks(["--cpu"]):
            assert shows_traceback() == (before == "1")


def test_every_run_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        folders = {stack.enter_context(run_folder(None, "crossmodal-nyu", cpu=True)) for _ in range(3)}
        assert len(folders) == 3 and all(folder.parent == Path("runs") for folder in folders)
    assert not list(tmp_path.iterdir())
    with (
        patch("crdkit.experiments.session.dated", return_value=Path("runs/same")),
        run_folder(None, "x", cpu=True),
        pytest.raises(OutputError, match="runs/same"),
        run_folder(None, "x", cpu=True),
    ):
        pass


def test_a_folder_is_taken_or_continued(tmp_path: Path) -> None:
    output = tmp_path / "out"
    check_folder(output, False)
    output.mkdir()
    (output / LOCK).touch()  # killed before it did anything
    check_folder(output, False)
    (output / "file").touch()
    with pytest.raises(FileExistsError, match=str(output)):
        check_folder(output, False)
    with pytest.raises(FileNotFoundError, match="holds no run"):
        check_folder(output, True)
    (output / "config.yaml").touch()
    check_folder(output, True)
    with pytest.raises(FileNotFoundError, match=r"ouput does not exist.*did you mean .*out\?"):
        check_folder(tmp_path / "ouput", True)
    with pytest.raises(ValueError, match="--output"):
        check_folder(None, True)


SESSION = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from crdkit.experiments.session import session

config = SimpleNamespace(output=None, resume=False, precision=None, cpu=True, trackers=())
with session(config, "run") as (folder, accelerator, provenance):
    time.sleep(accelerator.process_index)
    (Path(sys.argv[1]) / f"rank{accelerator.process_index}").write_text(
        f"{folder} {accelerator.num_processes} {accelerator.project_dir}"
    )
"""


def test_all_processes_of_a_run_have_one_folder(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SESSION)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, "script.py", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"rank{rank}").read_text() for rank in (0, 1))
    assert first == second
    folder, processes, trackers = first.split()
    assert folder.startswith("runs/run-") and processes == "2" and trackers == folder
