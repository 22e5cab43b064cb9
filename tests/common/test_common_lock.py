"""A folder is one process's: the kernel frees it, however that process ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crdkit.common import LOCK, OutputError, hold, is_empty, require_free

HOLD = """
import os, sys
from pathlib import Path
from crdkit.common import hold

with hold(Path(sys.argv[1])):
    if os.fork() == 0:  # as a loader's worker: it outlives its parent for a while
        sys.stdin.read()
        os._exit(0)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    for attempt in (lambda: require_free(folder), lambda: hold(folder).__enter__()):
        with pytest.raises(
            OutputError, match=rf"run is in use by process {first.pid} on .* since 2"
        ) as refused:
            attempt()
        assert "\n" not in str(refused.value)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (folder / LOCK).exists() and is_empty(folder)
    require_free(folder)
    with hold(folder):
        assert (folder / LOCK).read_text().startswith(f"process {os.getpid()} on ")
    first.communicate()


def test_it_leaves_nothing_and_takes_nothing_away(tmp_path: Path) -> None:
    with hold(tmp_path / "made" / "here"):
        require_free(tmp_path / "made" / "here")
        with pytest.raises(OutputError, match="by this process"), hold(tmp_path / "made" / "here"):
            pass
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match=r"cannot write to.*exists"), hold(tmp_path, fresh=True):
        pass
    (tmp_path / "file").touch()
    with hold(tmp_path):
        pass
    assert (tmp_path / "file").exists() and not (tmp_path / LOCK).exists()
    with pytest.raises(OutputError, match="cannot write to"), hold(tmp_path / "file"):
        pass


def test_what_another_host_left_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("process 7 on elsewhere since 2026-01-01 00:00:00\n")
    with pytest.warns(UserWarning, match="left by process 7 on elsewhere.*another host"), hold(tmp_path):
        pass


def test_a_disk_without_locks_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.warns(UserWarning, match="cannot be locked.*no second run"), hold(tmp_path):
        pass
