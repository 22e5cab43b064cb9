"""`crdkit COMMAND`: names are checked before torch, help in two depths, the same figures as by a launcher."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from crdkit.experiments import invocation
from crdkit.experiments.checks import TRACKERS
from crdkit.experiments.cli import COMMANDS, main
from crdkit.experiments.options import read_options, with_epochs

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "crossmodal.py"
TINY = (
    "--cpu",
    "--data.size",
    "32",
    "32",
    "--data.train-samples",
    "16",
    "--data.test-samples",
    "4",
    "--data.unlabeled-samples",
    "0",
    "--method",
    "none",
    "--epochs",
    "1",
)

ERRORS = [
    # arguments, exit code, what the message holds
    (["crosmodal"], 2, "unknown command 'crosmodal'; did you mean crossmodal?"),
    (["crossmodal", "nyu-smal"], 2, "unknown preset 'nyu-smal'; did you mean nyu-small"),
    (["crossmodal", "--metod", "kd"], 2, "unknown flag --metod: did you mean --method?"),
    (["crossmodal", "--method", "crd-dens"], 2, "unknown method 'crd-dens'"),
    (["crossmodal", "--student", "resnet1888"], 2, "no network named 'resnet1888': did you mean resnet18"),
    (["compress", "--teacher.architecture", "resnet8", "nix"], 2, "no network named 'nix'"),
    (["teacher", "--architecture", "resnet21"], 2, "no network named 'resnet21': did you mean resnet32"),
    (["crossmodal", "--setting", "crd.temperature=-1"], 2, "crd.temperature must be positive, got -1"),
    (["crossmodal", "--setting", "crd.temprature=1"], 2, "did you mean temperature"),
    (["crossmodal", "--data.encoding", "depth.unit=yard"], 2, "yard"),
    (["crossmodal", "--data.source", "nyuu"], 2, "'nyuu'"),
    (["crossmodal", "nyu"], 2, "--data.root is missing"),
    (["crossmodal", "nyu", "--data.root", "absent"], 1, "--data.root absent does not exist"),
    (["compress", "r32x4-r8x4", "--data.root", "absent"], 1, "--data.root absent does not exist"),
    (["compress", "--teacher.weights", "absent.pth"], 1, "there is no file absent.pth"),
    (["compress", "--teacher.weights", "here.pht"], 1, "did you mean here.pth?"),
    (["crossmodal", "--reuse", "absent"], 1, "--reuse absent"),
    (["crossmodal", "--resume"], 2, "--resume needs --output"),
    (["crossmodal", "--resume", "--output", "ful"], 1, "nothing to continue (did you mean full?)"),
    (["crossmodal", "--resume", "--output", "empty"], 1, "empty holds no run"),
    (["crossmodal", "--output", "full"], 1, "full holds a run already: go on with --resume"),
    (
        ["crossmodal", "--trackers", "tensorbord"],
        2,
        "unknown tracker 'tensorbord': did you mean tensorboard?",
    ),
    (["compress", "--method", "crd", "--method", "kd"], 2, "--method is given twice"),
    (["compress", "--seed", "1", "--seed", "1"], 2, "--seed is given twice"),
    (["compress", "--method", "crd", "crd"], 2, "method 'crd' stands twice"),
    (["compress", "--seed", "0", "1", "0"], 2, "seed 0 stands twice"),
    (["compress", "--seed", str(2**64)], 2, "seed must be within 64 bits"),
    (["ensemble", "--subset-seed", str(2**70)], 2, "subset_seed must be within 64 bits"),
    (["compress", "--transfer.train.num-workers", "100000"], 2, "train.num-workers: num_workers=100000 are"),
    (["compress", "--teacher.replace-classifier"], 2, "replace_classifier needs teacher.weights"),
    (["crossmodal", "--epochs", "0"], 2, "--epochs must be at least 1, got 0"),
    (["crossmodal", "--epochs", "many"], 2, "--epochs: invalid int value: 'many'"),
    (["crossmodal", "--list", "everything"], 2, "there are lists of methods, networks, presets, data"),
    (["teacher", "--dry-run"], 2, "has no plan"),
    (
        ["probe", "--network", "resnet8", "--weights", "random", "--output", "new"],
        2,
        "--data.root is missing",
    ),
]
FINE = [
    *([command, "--help"] for command in COMMANDS),
    *(["crossmodal", "--list", what] for what in ("networks", "presets", "data")),
    ["crossmodal", "nyu-small", "--help-all"],
    ["--help"],
]

TRY = """
import contextlib, io, json, sys
from crdkit.experiments.cli import main

found = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
    torch = "torch" in sys.modules
    found.append((code, out.getvalue(), err.getvalue(), torch))
json.dump(found, sys.stdout)
"""


MAKERS = {"--method", "--setting", "--epochs"}
"""Flags that are checked against the makers' signatures."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command line is answered with, in one process: exit code, outputs, whether torch came."""
    folder = tmp_path_factory.mktemp("prompt")
    (folder / "here.pth").touch()
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "config.yaml").touch()
    lines = [*(line for line, _, _ in ERRORS), *FINE]
    lines.sort(key=lambda line: not MAKERS.isdisjoint(line))  # these import torch into the process
    done = subprocess.run(
        [sys.executable, "-c", TRY, json.dumps(lines)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["empty", "full", "here.pth"]
    return {" ".join(line): answer for line, answer in zip(lines, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize(("line", "code", "text"), ERRORS, ids=[" ".join(line) for line, _, _ in ERRORS])
def test_what_cannot_be_is_told_before_torch(
    line: list[str], code: int, text: str, answers: dict[str, Any]
) -> None:
    found, out, err, torch = answers[" ".join(line)]
    assert found == code and text in err, err
    assert (not torch or MAKERS & set(line)) and "Traceback" not in err and not out


def test_help_and_lists_wait_for_no_torch(answers: dict[str, Any]) -> None:
    for line in FINE:
        code, out, err, torch = answers[" ".join(line)]
        assert code == 0 and not torch and not err, (line, err)
        assert len(out.splitlines()) > 3
    short, everything = answers["crossmodal --help"][1], answers["crossmodal nyu-small --help-all"][1]
    for command in ("crossmodal", "compress", "ensemble", "teacher"):
        assert len(answers[f"{command} --help"][1].splitlines()) <= 100
        assert answers[f"{command} --help"][1].splitlines()[-1].startswith(f"  crdkit {command}")
    places = [
        short.index(f"\n{group}\n") for group in ("data", "teacher", "student", "methods", "budget", "output")
    ]
    assert places == sorted(places) and short.index("\nexamples\n") > places[-1]
    assert "--transfer.cache-limit" in everything and "--transfer.cache-limit" not in short
    assert "depth_cnn_x2" in answers["crossmodal --list networks"][1]
    assert "nyu-small" in answers["crossmodal --list presets"][1]
    assert "rendered rooms" in answers["crossmodal --list data"][1]


def test_the_list_of_methods_has_their_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["crossmodal", "--list", "methods"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "crd-dense" in out and "temperature=0.07" in out


def test_a_tracker_that_is_not_installed_is_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crdkit.experiments.checks.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["crossmodal", "--trackers", "mlflow"])
    assert stop.value.code == 2 and "pip install mlflow" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_trackers_are_those_of_accelerate() -> None:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    assert set(TRACKERS) == set(LOGGER_TYPE_TO_CLASS)


@pytest.mark.parametrize("room", ["crossmodal", "compression", "ensemble"])
@pytest.mark.parametrize("epochs", [1, 500])
def test_epochs_work_with_every_preset(room: str, epochs: int) -> None:
    from importlib import import_module

    for name, preset in import_module(f"crdkit.{room}").PRESETS.items():
        changed, said = with_epochs(preset, epochs)
        stages = [changed.teacher.train, changed.transfer.train]
        stages += [
            part for part in (getattr(changed, "segment", None), getattr(changed, "finetune", None)) if part
        ]
        for stage in (getattr(part, "train", part) for part in stages):
            assert stage.epochs == epochs and stage.warmup_epochs <= epochs / 4, name
        assert len(said) == len(stages)
        assert changed.transfer.train.lr == preset.transfer.train.lr


def test_epochs_say_what_shrinks_and_reach_the_pretraining() -> None:
    from crdkit.compression import PRESETS
    from crdkit.experiments.command import parse

    options, rest = read_options(
        ["r56-r20", "--epochs", "24", "--method", "ab", "kd", "--transfer.train.epochs", "7"]
    )
    preset, config = parse("compress", rest, PRESETS, default="digits", description="", options=options)
    assert preset == "r56-r20" and config.setting == ("ab.epochs=24",)
    assert config.teacher.train.epochs == 24 and config.teacher.train.milestones == (15, 18, 21)
    assert config.transfer.train.epochs == 7  # a stage's own flag comes before
    _, said = with_epochs(PRESETS["digits"], 2)
    assert said[0] == "teacher.train: 2 epochs instead of 8, warm-up over 0.25 instead of 1"


def test_shared_statistics_are_for_every_stage() -> None:
    from crdkit.crossmodal import PRESETS
    from crdkit.experiments.command import parse

    for given, expected in ((["--sync-batchnorm"], True), ([], False)):
        options, rest = read_options(given)
        _, config = parse("crossmodal", rest, PRESETS, default="synthetic", description="", options=options)
        stages = (config.teacher.train, config.transfer.train, config.segment.train)
        assert [stage.sync_batchnorm for stage in stages] == [expected] * 3


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def start(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900)


def test_the_console_the_launcher_and_ranks_run_the_same_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crdkit", "crossmodal", *TINY]
    launcher = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--num_processes",
        "1",
        "--num_machines",
        "1",
    ]
    launched = [*launcher, "--mixed_precision", "no", "--dynamo_backend", "no", str(SCRIPT), *TINY]
    one = start([*command, "--output", "one"], tmp_path)
    assert one.returncode == 0, one.stderr
    assert start([*launched, "--output", "two"], tmp_path).returncode == 0
    first, second = results(tmp_path / "one"), results(tmp_path / "two")
    assert first["runs"] == second["runs"] and first["config"]["segment"] == second["config"]["segment"]
    weights = "runs/none/seed-0/segment/model.safetensors"
    assert (tmp_path / "one" / weights).read_bytes() == (tmp_path / "two" / weights).read_bytes()
    (line,) = (line for line in one.stderr.splitlines() if "segment: " in line)
    assert "1 steps in" in line and "samples/s" in line and "about 0 s left [1/1]" in line
    left = dict(
        line.split() for line in one.stdout.splitlines() if line.endswith(("json", "md", "yaml", "runs"))
    )
    assert {"report": "one/report.md", "figures": "one/results.json"}.items() <= left.items()

    wrong = start([*launched[: launched.index("--method")], "--method", "crdd"], tmp_path)
    assert wrong.returncode == 1 and "CalledProcessError" in wrong.stderr
    said = wrong.stderr.partition("Traceback")[0].strip().splitlines()
    assert said[-1].startswith("crdkit crossmodal: unknown method 'crdd'")


def test_ranks_share_a_run_that_ctrl_c_leaves_to_be_continued(tmp_path: Path) -> None:
    long = ["--segment.train.epochs", "100000", "--processes", "2", "--output", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "crdkit", "crossmodal", *TINY, *long],
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stage = tmp_path / "out/runs/none/seed-0/segment"
    try:
        while not list(stage.glob("checkpoints/checkpoint-*/manifest.json")):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    said = err.partition("Traceback")[0].splitlines()
    (line,) = (line for line in said if line.startswith("continue with: "))
    assert line.startswith("continue with: crdkit crossmodal --cpu ")
    assert line.endswith("--processes 2 --output out --resume")
    saved = next(iter(stage.glob("checkpoints/checkpoint-*/state.json")))
    assert json.loads(saved.read_text())["fingerprint"]["processes"] == 2


def test_the_command_that_continues_is_the_one_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*invocation.LAUNCHED, invocation.PROCESSES):
        monkeypatch.delenv(name, raising=False)
    arguments = ["nyu", "--output=a", "--data.root", "my data", "--output", "b"]
    monkeypatch.setattr(sys, "argv", ["/venv/bin/crdkit", "crossmodal", *arguments])
    expected = "crdkit crossmodal nyu --data.root 'my data' --output c --resume"
    assert invocation.command_line(Path("c")) == expected
    monkeypatch.setattr(sys, "argv", ["/site/crdkit/__main__.py", "crossmodal", *arguments])
    assert invocation.command_line(Path("c")) == expected
    monkeypatch.setattr(sys, "argv", ["experiments/crossmodal.py", *arguments])
    assert invocation.command_line(Path("c")).startswith("python experiments/crossmodal.py nyu ")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    parent = [
        "/bin/python3",
        "/bin/accelerate",
        "launch",
        "--num_processes",
        "2",
        "experiments/crossmodal.py",
        "nyu",
    ]
    monkeypatch.setattr(invocation, "_parent", lambda: parent)
    launch = "accelerate launch --num_processes 2 experiments/crossmodal.py nyu --data.root 'my data'"
    assert invocation.command_line(Path("c")) == f"{launch} --output c --resume"
    monkeypatch.setattr(invocation, "_parent", list)
    assert invocation.command_line().startswith("accelerate launch experiments/crossmodal.py nyu")
    monkeypatch.setattr(sys, "argv", ["/site/crdkit/__main__.py", "crossmodal", "nyu"])
    torchrun = ["/bin/python3", "/bin/torchrun", "--nnodes", "2", "-m", "crdkit", "crossmodal", "nyu"]
    monkeypatch.setattr(invocation, "_parent", lambda: torchrun)
    assert invocation.command_line() == "torchrun --nnodes 2 -m crdkit crossmodal nyu"
    monkeypatch.setenv(invocation.PROCESSES, "2")
    assert invocation.command_line(Path("c")) == "crdkit crossmodal nyu --processes 2 --output c --resume"


@pytest.mark.parametrize(
    ("launched", "given", "before", "words", "expected"),
    [
        (False, None, {}, [], 8),  # all cores
        (False, "3", {}, [], None),  # as was said
        (True, "1", {}, [], 4),  # the launcher's one thread; two ranks share the cores
        (True, "1", {"OMP_NUM_THREADS": "1"}, [], None),  # said before the launcher
        (True, "1", {}, ["--num_cpu_threads_per_process=1"], None),  # said to the launcher
        (True, "5", {}, [], None),
    ],
)
def test_all_cores_unless_somebody_said_otherwise(
    launched: bool,
    given: str | None,
    before: dict[str, str],
    words: list[str],
    expected: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Parent:
        def environ(self) -> dict[str, str]:
            return before

        def cmdline(self) -> list[str]:
            return words

    for name in (*invocation.LAUNCHED, "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    if launched:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    set_to: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", set_to.append)
    monkeypatch.setattr("psutil.Process", lambda number: Parent())
    monkeypatch.setattr(invocation, "available_cores", lambda: 8)
    invocation.use_cores()
    assert set_to == ([] if expected is None else [expected])


def test_the_plan_counts_what_a_run_takes_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--teacher.width", "8", "--method", "none", "kd", "--seed", "0", "1"]
    with pytest.raises(SystemExit) as stop:
        main(["crossmodal", *TINY[:10], *small, "--dry-run"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    found = {}
    for line in lines:
        name, *rest = line.rsplit(maxsplit=5)
        if len(rest) == 5:
            found[name.strip()] = rest[:2]
    # 16 samples are a batch: 10, 8 and 3 epochs of one step, and two seeds.
    assert found["teacher resnet18-0"] == ["1", "10"]
    assert found["kd transfer"] == ["2", "8"]
    assert found["segment"] == ["4", "3"]
    assert [line.split()[0] for line in lines[-3:]] == ["in", "memory", "disk"]
    assert not list(tmp_path.iterdir())
