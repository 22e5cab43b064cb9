"""What the outside sees of a training: metrics.jsonl, trackers, a progress bar or plain lines."""

import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from torch import Tensor

from ..common import to_json, write_text
from .config import TrainConfig
from .errors import OutputError
from .progress import Progress, in_words

# Without a terminal a long training prints a line this often, in seconds.
LINE_INTERVAL = 60.0


class Meter:
    """Means over an epoch, weighted by the number of samples, summed on the device without waiting for it.

    Args:
        names: the values that every batch gives.
        device: where they are.
    """

    def __init__(self, names: list[str], device: torch.device) -> None:
        self.names = names
        # mps has no float64.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(len(names) + 1, dtype=dtype, device=device)

    def add(self, values: dict[str, Tensor], samples: int) -> None:
        """Add one batch's means over its samples."""
        row = torch.stack([values[name].detach().to(self.sums.dtype) for name in self.names])
        self.sums[:-1] += row * samples
        self.sums[-1] += samples

    def reset(self) -> None:
        """Forget everything, at the start of an epoch."""
        self.sums.zero_()

    def means(self, sums: Tensor | None = None) -> dict[str, float]:
        """The means; of `sums` where given, such as the sum of all ranks' `sums`."""
        *totals, samples = (self.sums if sums is None else sums).tolist()
        return {name: total / max(samples, 1) for name, total in zip(self.names, totals, strict=True)}


class Reporter:
    """Reports on the main process; does nothing on the others.

    `metrics.jsonl` gets a line of kind "step" every so many steps and one of kind "epoch" after each epoch,
    with the seconds that the training has taken so far.
    The person at the prompt gets one line when the training is done, with its rate and the time left for the
    whole command, and until then a bar, or without a terminal a line now and then.
    On resume, lines from after the checkpoint are dropped: the file reads like that of an undisturbed run.
    A tracker that raises is left out from then on, with a warning: the training matters more.

    Args:
        folder: of metrics.jsonl.
        accelerator: its trackers, where it has some, get the same values.
        label: the name of this training in lines and trackers.
        total: steps of the whole training.
        step, epoch: steps and epochs done before.
        progress: progress of the whole command.
    """

    def __init__(
        self,
        folder: Path,
        accelerator: Accelerator,
        *,
        label: str,
        total: int,
        step: int,
        epoch: int,
        progress: Progress | None = None,
    ) -> None:
        self.active = accelerator.is_main_process
        if not self.active:
            return
        self.label, self.total, self.progress = label, total, progress or Progress()
        self.first, self.step = step, step
        self.trackers = list(accelerator.trackers)
        self.file, self.before = _reopen(folder / "metrics.jsonl", {"step": step, "epoch": epoch})
        self.console = Console(stderr=True)
        self.bar: ProgressBar | None = None
        self.started, self.line_time, self.samples = time.monotonic(), time.monotonic(), 0
        if self.console.is_terminal:
            self.bar = ProgressBar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
                console=self.console,
                transient=True,
            )
            self.row = self.bar.add_task(label or "training", total=total, completed=step, text="")
            self.bar.start()

    def say_start(self, config: TrainConfig, processes: int, *, retrained: bool) -> None:
        """Print what is special about this training: lost weights, several processes, a checkpoint."""
        if retrained:
            self.say("its weights were not kept: it is trained again")
        if processes > 1:
            whose = "of the whole batch" if config.sync_batchnorm else "of each process's own share"
            self.say(
                f"{processes} processes share every batch of {config.batch_size} samples; batch-norm "
                f"statistics are those {whose}"
            )
        if self.active and self.first:
            self.say(f"continuing after step {self.first} of {self.total}")

    def advance(self, step: int, samples: int) -> None:
        """One more optimizer step is done."""
        if self.active:
            self.samples += samples
            self.step = step
            if self.bar is not None:
                self.bar.update(self.row, completed=step)

    def log_step(self, step: int, values: dict[str, Any]) -> None:
        """Report within an epoch."""
        if not self.active:
            return
        self._write({"kind": "step", **values, "samples_per_second": round(self._rate(), 1)})
        self._track(values, step)
        if self.bar is not None:
            self.bar.update(self.row, text=_text(values))
        elif time.monotonic() - self.line_time > LINE_INTERVAL:
            self.line_time = time.monotonic()
            self.say(f"step {values['step']}/{self.total} {_text(values)}{self._left()}")

    def log_epoch(self, step: int, row: dict[str, Any]) -> None:
        """Report a row of the history."""
        if self.active:
            seconds = self.before + time.monotonic() - self.started
            self._write({"kind": "epoch", **row, "seconds": round(seconds, 3)})
            self._track(row, step)

    def done(self, row: dict[str, Any]) -> None:
        """The training is over, with this row as the last of its history."""
        if not self.active:
            return
        seconds = time.monotonic() - self.started
        self.progress.observe(self.label, self.step - self.first, seconds)
        place = ""
        if self.label in self.progress.remaining:
            number = self.progress.total - len(self.progress.remaining) + 1
            place = f" [{number}/{self.progress.total}]"
        rate = f"{self.step} steps in {in_words(seconds)}, {self._rate():.0f} samples/s"
        self.say(f"{rate}: {_judged(row)}{self._left()}{place}")

    def say(self, message: str) -> None:
        """Print one line for the person at the prompt."""
        if self.active:
            text = f"{self.label}: {message}" if self.label else message
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """End the progress bar and close the file."""
        if self.active:
            if self.bar is not None:
                self.bar.stop()
            self.file.close()

    def _rate(self) -> float:
        return self.samples / max(time.monotonic() - self.started, 1e-9)

    def _left(self) -> str:
        """`; about 12 min left`, for the whole command."""
        done = self.step - self.first
        speed = (time.monotonic() - self.started) / done if done else None
        seconds = self.progress.remaining_seconds(self.label, self.step, speed)
        return "" if seconds is None else f"; about {in_words(seconds)} left"

    def _write(self, row: dict[str, Any]) -> None:
        try:
            self.file.write(to_json(row, self.file.name) + "\n")
            self.file.flush()
        except OSError as error:
            raise OutputError(f"cannot write to {self.file.name}: {error.strerror}") from error

    def _track(self, values: dict[str, Any], step: int) -> None:
        prefix = f"{self.label}/" if self.label else ""
        numbers = {prefix + name: value for name, value in values.items() if isinstance(value, int | float)}
        for tracker in list(self.trackers):
            try:
                # W&B drops what comes at an earlier step, and every stage begins at its first.
                tracker.log(numbers, step=None if tracker.name == "wandb" else step)
            except Exception as error:  # a tracker is other people's code, and may fail in any way
                self.trackers.remove(tracker)
                warnings.warn(f"the tracker {tracker.name} failed and is left out: {error!r}", stacklevel=2)


def log_pictures(accelerator: Accelerator, pictures: Mapping[str, Path], step: int = 0) -> None:
    """Give pictures to every tracker that can show or keep them, on the main process.

    TensorBoard, W&B and Trackio show them as images, MLflow keeps the files; accelerate's other trackers get
    none. One that raises is told of in a warning.

    Args:
        pictures: name → PNG file.
    """
    for tracker in accelerator.trackers if pictures and accelerator.is_main_process else ():
        try:
            _log_pictures(tracker, pictures, step)
        except Exception as error:  # a tracker is other people's code, and may fail in any way
            warnings.warn(f"the tracker {tracker.name} has no pictures: {error!r}", stacklevel=2)


def _log_pictures(tracker: Any, pictures: Mapping[str, Path], step: int) -> None:
    match tracker.name:
        case "tensorboard":
            images = {
                name: np.asarray(Image.open(path).convert("RGB"))[None] for name, path in pictures.items()
            }
            tracker.log_images(images, step=step, dataformats="NHWC")
        case "wandb":
            tracker.log_images({name: [Image.open(path)] for name, path in pictures.items()})
        case "mlflow":
            for path in pictures.values():
                tracker.log_artifact(str(path), artifact_path="pictures")
        case "trackio":
            import trackio

            tracker.log({name: trackio.Image(str(path)) for name, path in pictures.items()}, step=step)


def _text(values: dict[str, Any]) -> str:
    return " ".join(f"{k} {v:.4g}" for k, v in values.items() if isinstance(v, float))


def _judged(row: dict[str, Any]) -> str:
    """The loss, and the first figures that an evaluation gave."""
    own = ("epoch", "step", "lr", "loss")
    others = [name for name, value in row.items() if name not in own and isinstance(value, float)]
    measured = [name for name in others if "/" not in name][-2:]
    return _text({"loss": row["loss"], **{name: row[name] for name in measured}})


def _reopen(path: Path, done: dict[str, int]) -> tuple[IO[str], float]:
    """Open for appending, without the rows from after the steps and epochs done, or a half-written one; and
    the seconds that those done took."""
    text = path.read_text(errors="replace") if path.exists() else ""
    kept, seconds = [], 0.0
    for line in text.splitlines(keepends=True):
        try:
            row = json.loads(line)
            if row[row["kind"]] <= done[row["kind"]]:
                kept.append(line)
                seconds = row.get("seconds", seconds)
        except (ValueError, KeyError, TypeError):
            continue
    if "".join(kept) != text:
        write_text(path, "".join(kept))
    return path.open("a"), seconds
