"""What the commands change of their process, and that the library changes nothing."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_training import alive

from crdkit.engine.launch import SIZES, WISH, lacking_processes

STEPS = """
import resource
import torch
from crdkit.experiments.process import keep_freed_memory

keep_freed_memory()
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    temporaries = [torch.ones(2**21) for _ in range(6)]
    del temporaries
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Steps that take and free 48 MiB; the last one's page faults, of which there are 12,288 if all is given
back."""


WAITING = """
import os
from pathlib import Path
from crdkit.experiments.session import run_folder

print(os.getpid(), flush=True)
with run_folder(Path("never"), "never", cpu=True):
    print("met", flush=True)
"""
"""A rank that looks for another one, in vain."""
LATE = WAITING.replace("import os\n", "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(3)\n", 1)
"""One whose launcher is dead before it begins to look."""
LAUNCHER = """
import subprocess, sys

rank = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(rank.stdout.readline(), flush=True)
rank.wait()
"""


@pytest.mark.parametrize("program", [WAITING, LATE], ids=["waiting", "late"])
def test_a_launcher_that_dies_while_its_ranks_look_for_one_another_leaves_none(program: str) -> None:
    if program is LATE and b"python" in Path("/proc/1/cmdline").read_bytes():
        pytest.skip("orphans are left to a process that may be a launcher")
    with socket.socket() as silent:  # takes the call, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(silent.getsockname()[1])}
        ranks = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}
        launcher = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, program],
            env={**os.environ, **meeting, **ranks},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert launcher.stdout is not None
        rank = int(launcher.stdout.readline())
        time.sleep(2.0)
        assert launcher.poll() is None and alive(rank)
        launcher.kill()
        launcher.wait()
        deadline = time.monotonic() + 60
        while alive(rank) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not alive(rank)


NEUTRAL = """
import atexit, ctypes, os, signal, sys, threading
import accelerate, torch, torch._dynamo, torchvision
from tiny_training import run

def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    threads = set(threading.enumerate()), torch.get_num_threads()
    return handlers, threads, torch.get_float32_matmul_precision(), dict(os.environ)

registered, libraries = [], []
register, getter = atexit.register, ctypes.CDLL.__getattr__

def noting(function, *given, **named):
    registered.append(getattr(function, "__module__", ""))
    return register(function, *given, **named)

def looking(library, name):
    libraries.append(name)
    return getter(library, name)

atexit.register, ctypes.CDLL.__getattr__ = noting, looking
modules, before = dict(sys.modules), state()

from pathlib import Path
from crdkit.engine import SupervisedTask, make_accelerator
from crdkit.models import create

inside = []
def evaluate(module):
    inside.append(signal.getsignal(signal.SIGTERM))
    return {"figure": 1.0}

create("resnet8", num_classes=2), create("resnet18", num_classes=2)
accelerator = make_accelerator(cpu=True, precision="auto")
environment = {name for name in os.environ if name not in before[-1]}
run(Path(sys.argv[1]), accelerator=accelerator, evaluate=evaluate)
after = state()
assert inside[0] not in (signal.SIG_DFL, before[0][0]), "the training handles signals while it runs"
assert before[:3] == after[:3], (before[:3], after[:3])
assert not [name for name in environment if name.startswith("CRDKIT")]
assert not [name for name in registered if name and name.startswith("crdkit")], registered
assert "mallopt" not in libraries
replaced = [name for name, module in modules.items() if sys.modules.get(name) is not module]
assert not replaced, replaced
assert not [n for n, module in sys.modules.items() if type(module).__module__.startswith("crdkit")]
print("neutral")
"""
"""A training by the engine under a launcher, and what it leaves of the process."""


def test_the_library_changes_nothing_of_the_process(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", NEUTRAL, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths, "ACCELERATE_MIXED_PRECISION": "no"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and done.stdout.endswith("neutral\n"), done.stderr


WINDOWS = """
import os, pkgutil, signal, sys
import accelerate, h5py, jinja2, matplotlib, psutil, rich, sklearn, timm, torch, torchvision, tyro
from tiny_training import run
from pathlib import Path

for module, names in (
    (signal, ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGKILL", "SIGHUP")),
    (os, ("getuid", "sched_getaffinity", "fork", "statvfs", "killpg", "setsid", "uname")),
):
    for name in names:
        delattr(module, name)
for name in ("fcntl", "resource", "pwd", "grp"):
    sys.modules[name] = None
for name in [name for name in sys.modules if name.partition(".")[0] == "crdkit"]:
    del sys.modules[name]

import crdkit
skipped = ("crdkit.tests", "crdkit.docs", "crdkit.benchmarks", "crdkit.examples", "crdkit.__main__")
for found in pkgutil.walk_packages(crdkit.__path__, "crdkit."):
    if not found.name.startswith(skipped):
        __import__(found.name)
from crdkit.engine.signals import HANDLED, StopSignals, ignore_interrupts
with StopSignals() as signals:
    signal.raise_signal(signal.SIGINT)
    assert signals.received == signal.SIGINT and len(HANDLED) == 2
ignore_interrupts(0)
print("imported")
"""
"""A process without what only POSIX has."""


def test_every_module_is_imported_without_what_windows_lacks() -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and done.stdout.endswith("imported\n"), done.stderr


def faults(**environment: str) -> int:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", STEPS], env=kept | environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in str(os.confstr("CS_GNU_LIBC_VERSION")),
    reason="speaks of glibc's allocator",
)
def test_freed_memory_is_kept_for_the_next_step_unless_the_user_says_otherwise() -> None:
    assert faults() < 1000
    assert faults(MALLOC_TRIM_THRESHOLD_="131072") > 10_000


@pytest.mark.parametrize(
    ("variables", "world_size", "said"),
    [
        ({}, 1, ""),
        ({"WORLD_SIZE": "2"}, 2, ""),
        ({"SLURM_STEP_NUM_TASKS": "2", "WORLD_SIZE": "8"}, 8, ""),
        ({"MASTER_ADDR": "host"}, 1, ""),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, 1, ""),
        (
            {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "host"},
            1,
            "several processes, but this one trains",
        ),
        ({"SLURM_STEP_NUM_TASKS": "4"}, 1, "4 processes, but this one trains alone"),
        ({"OMPI_COMM_WORLD_SIZE": "4", "WORLD_SIZE": "2"}, 2, "4 processes, but 2 train together"),
    ],
)
def test_a_launcher_that_starts_fewer_processes_is_told(
    variables: dict[str, str], world_size: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*SIZES, WISH, "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = lacking_processes(world_size)
    assert said in text and bool(text) == bool(said)
    assert not said or "torchrun --nproc_per_node" in text
