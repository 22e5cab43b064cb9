"""The run folder of a command, its accelerator, and what the run was made with."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crdkit.common import OutputError, hold, is_empty, plain, write_text

from .checks import check_config
from .invocation import command_line, use_cores
from .process import prepare_process, use_tensor_cores

if TYPE_CHECKING:
    from crdkit.engine import Accelerator


@contextmanager
def session(config: Any, name: str) -> Iterator[tuple[Path, Accelerator, dict[str, Any]]]:
    """The run folder of a configuration, held for this run, its accelerator, and what the run was made with.

    An interruption prints the command line that continues the run, last.

    Args:
        config: with the fields output, resume, precision, cpu and trackers of `RunConfig`.
        name: of the run, for the folder.

    Raises:
        FileExistsError, ValueError: as `check_config` does, before there is a folder.
        OutputError: another process writes in the folder, or nobody can.
    """
    check_config(config)

    from crdkit.engine import Interrupted, end_training, make_accelerator

    from .provenance import environment

    with run_folder(config.output, name, cpu=config.cpu) as folder:
        line = command_line(folder)
        use_cores()
        surroundings = environment()
        accelerator = make_accelerator(
            precision=precision_of(config), cpu=config.cpu, trackers=config.trackers, folder=folder
        )
        if accelerator.device.type == "cuda" and accelerator.mixed_precision != "no":
            use_tensor_cores()
        try:
            yield folder, accelerator, surroundings
        except (Interrupted, KeyboardInterrupt) as stop:
            if accelerator.is_main_process:
                nothing = is_empty(folder)
                print("nothing was done yet" if nothing else f"continue with: {line}", file=sys.stderr)
            if isinstance(stop, KeyboardInterrupt):
                raise SystemExit(130) from None
            raise
        finally:
            end_training(accelerator)


@contextmanager
def run_folder(output: Path | None, name: str, *, cpu: bool) -> Iterator[Path]:
    """The run's folder, the same on all ranks, of which the main one holds it; dated for none.

    Raises:
        OutputError: another process writes in it, or nobody can.
    """
    # Before the accelerator is made, as its trackers want to know the folder.
    from accelerate import PartialState

    from crdkit.engine import from_main, leave_group

    prepare_process()
    state: Any = PartialState(cpu=cpu)
    with ExitStack() as stack:
        stack.callback(leave_group)
        made, trouble = output, ""
        if state.is_main_process:
            try:
                made = dated(name) if output is None else output
                stack.enter_context(hold(made, fresh=output is None))
            except OutputError as error:
                trouble = str(error)
        shared, trouble = from_main(state, [str(made), trouble])
        if trouble:
            raise OutputError(trouble)
        yield Path(shared)


def dated(name: str) -> Path:
    """A path of its own under runs/: a run's name, the date and a few random digits."""
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


def precision_of(config: Any) -> Any:
    """The configured precision; of a run that goes on, and has none, the one that it began with."""
    if config.precision == "auto" and config.resume and config.output is not None:
        import yaml

        try:
            before = yaml.safe_load((config.output / "config.yaml").read_text(encoding="utf-8"))["precision"]
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            return config.precision
        return "no" if before is None else before  # None: of a release that computed in fp32
    return config.precision


def write_config(config: Any, folder: Path) -> None:
    """config.yaml, the resolved configuration."""
    import yaml

    write_text(folder / "config.yaml", yaml.safe_dump(plain(asdict(config)), sort_keys=False))
