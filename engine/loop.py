"""The one training loop."""

import contextlib
import math
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..common import UserError, equal_rows, hold
from .batchnorm import shared_statistics
from .config import TrainConfig
from .course import Course
from .errors import Interrupted, NotKeptError, WorkerError
from .evaluate import Evaluate, measure
from .files import prepare_folder
from .finished import CHECKPOINTS, make_fingerprint, read_finished
from .guards import FrozenGuard
from .launch import release
from .optimization import OptimizerFactory, Schedule, lr_factor, make_optimizer, names_of
from .peers import Peers
from .rng import derive_seed, seed_all
from .sampler import BatchSource
from .signals import StopSignals
from .state import TrainState, require_same_everywhere, required_space
from .task import Task, check_task, weighted_sum
from .tracking import Reporter


def train(
    task: Task,
    dataset: Dataset[Any],
    config: TrainConfig,
    folder: str | Path,
    *,
    accelerator: Accelerator,
    seed: int,
    evaluate: Evaluate | None = None,
    label: str = "",
    fingerprint: Mapping[str, Any] | None = None,
    optimizer: OptimizerFactory | None = None,
    schedule: Schedule | None = None,
    course: Course | None = None,
    retrain: bool = True,
) -> list[dict[str, Any]]:
    """Train to the end, from the beginning or from the folder's newest whole checkpoint.

    On a CPU the result does not depend on whether, where and how often the training was interrupted, bit
    for bit (with the same number of threads: torch adds in another order with another one).

    In the folder: `metrics.jsonl` from the start, `checkpoints/` until the end, then `model.safetensors`
    (the module), `model-ema.safetensors` (`task.average`, if there is one), `history.json` and, written last,
    `manifest.json` (what they belong to). A folder with that is finished: the call loads the weights into
    `task.module` and returns the history. The memory ends with the training; it is not in the results.

    A batch is cut into slices over the processes; the loss of a step is the mean over the samples of
    `config.accumulate` batches. SIGTERM, SIGINT and SIGUSR1 end the training after the step is finished and
    saved, on all processes, which end it with the same bits.

    Args:
        task: the module, its terms, the memory and the frozen networks.
        dataset: `__len__` and `__getitem__(i) -> dict of tensors`, or `__getitems__(indices)` for a batch.
        config: how to train.
        folder: this training's own folder.
        accelerator: device, processes, precision, trackers. Accumulation is the configuration's.
        seed: of the data's order and of every random number drawn in the training. The initial weights are
            the caller's.
        evaluate: called on every process with the unwrapped module in eval mode, every
            `config.evaluate_every` epochs and after the last; returns values for the history.
        label: names this training in lines and trackers.
        fingerprint: JSON values that must be the same on resume, beside those the engine compares itself
            (configuration, weights, seed, shapes, number of samples and processes, precision).
        optimizer: trainable parameters -> their optimizer, in the place of the configured one, whose learning
            rate the schedule multiplies. Its state must be tensors and numbers.
        schedule: in the place of the configured one.
        course: of the command that this is one training of; lines tell the time left for all of it.
        retrain: whether a finished training whose weights were not kept is trained again.

    Returns:
        The history, a row for each epoch: `epoch` and `step` (done so far), `lr`, `loss`, the mean of each
        term over the epoch's samples, and what `evaluate` returned.

    Raises:
        TaskError: the task breaks its contract.
        ResumeError: the folder belongs to another training; the differences are listed. It is a
            `NotKeptError` for the same training without its weights, if it is not to be trained again.
        CheckpointError, OutputError: nothing whole to resume from; the folder cannot be written.
        NonFiniteError: a term or a weight became NaN or infinite; the last good checkpoint stays.
        FrozenError: a frozen network changed.
        RanksError: the processes do not hold the same frozen networks, results or folder.
        WorkerError: a data worker died.
        Interrupted: a `SystemExit` with code 128 + the signal's number.
    """
    check_task(task)
    if accelerator.gradient_accumulation_steps != 1:
        raise UserError(
            "the accelerator must not accumulate gradients; set TrainConfig.accumulate="
            f"{accelerator.gradient_accumulation_steps} instead"
        )
    folder, device = Path(folder), accelerator.device
    with contextlib.ExitStack() as stack:
        peers = stack.enter_context(contextlib.closing(Peers(accelerator)))
        source = BatchSource(
            dataset,
            batch_size=config.batch_size,
            epochs=config.epochs,
            seed=seed,
            rank=peers.rank,
            world_size=peers.size,
        )
        steps_per_epoch = math.ceil(source.batches_per_epoch / config.accumulate)
        total_steps = config.epochs * steps_per_epoch
        check_interval = 1 if device.type == "cpu" else config.log_every
        known = make_fingerprint(
            task,
            config,
            samples=source.length,
            seed=seed,
            world_size=peers.size,
            precision=accelerator.mixed_precision,
            extra={**(fingerprint or {}), **names_of(optimizer, schedule)},
        )

        task.module.to(device)
        dropped = False
        try:
            history = read_finished(folder, task, known)
            if peers.agree(history is not None, folder):
                require_same_everywhere(task, peers, label or str(folder))
                return history or []
        except NotKeptError:
            if not retrain:
                raise
            dropped = True
        if peers.is_main:
            prepare_folder(folder, required_space(task, config, folder / CHECKPOINTS))
            stack.enter_context(hold(folder))
        if task.memory is not None:
            task.memory.to(device)
            peers.share_state(task.memory)
        frozen = FrozenGuard(task.frozen, device)
        peers.require_same(frozen.digests, f"{label or folder} before its training")
        own = make_optimizer(config, task.module.parameters(), optimizer)
        rates = [group["lr"] for group in own.param_groups]
        if config.compile:
            task.module.compile()
        # Said, not asked: accelerate would import the sharded tensors that it looks for, in half a second.
        module, stepper = accelerator.prepare(task.module, own, device_placement=[True, True])
        stack.callback(release, accelerator, module, stepper)

        state = TrainState(
            task,
            own,
            source,
            accelerator=accelerator,
            peers=peers,
            folder=folder / CHECKPOINTS,
            fingerprint=known,
            config=config,
        )
        seed_all(derive_seed("training", seed, peers.rank))
        signals = stack.enter_context(StopSignals())
        if task.average is not None:
            task.average.start()
        state.resume()
        step = state.epoch * steps_per_epoch + math.ceil(state.batch / config.accumulate)
        reporter = stack.enter_context(
            contextlib.closing(
                Reporter(
                    folder,
                    accelerator,
                    label=label,
                    total=total_steps,
                    step=step,
                    epoch=state.epoch,
                    course=course,
                )
            )
        )
        if dropped:
            reporter.say("its weights were not kept: it is trained again")
        statistics = shared_statistics(config.sync_batchnorm)
        if peers.size > 1:
            whose = "of the whole batch" if config.sync_batchnorm else "of each process's own share"
            reporter.say(
                f"{peers.size} processes share every batch of {config.batch_size} samples; batch-norm "
                f"statistics are those {whose}"
            )
        if step:
            reporter.say(f"continuing after step {step} of {total_steps}")
        batches = source.load(
            state.epoch, state.batch, num_workers=config.num_workers, pin_memory=device.type == "cuda"
        )

        def factor_at(step: int) -> float:
            if schedule is not None:
                return schedule(step, total_steps)
            return lr_factor(step, config=config, steps_per_epoch=steps_per_epoch)

        def stop(signum: int) -> NoReturn:
            path = state.save()
            name = signal.Signals(signum).name
            reporter.say(f"stopped by {name} after step {step}, saved {path}")
            raise Interrupted(signum)

        while state.epoch < config.epochs:
            task.module.train()
            frozen.hold()
            while state.batch < source.batches_per_epoch:
                numbers = range(state.batch, min(state.batch + config.accumulate, source.batches_per_epoch))
                samples = sum(source.size(number) for number in numbers)
                factor = factor_at(step)
                written = []
                for number in numbers:
                    # Load. All ranks learn of a failure, or a signal, on one of them: none waits in vain.
                    batch, trouble = _load(batches, device)
                    failed, signum = peers.largest(trouble is not None, signals.received)
                    if signum and number == numbers[0]:
                        stop(signum)
                    if failed:
                        raise trouble or WorkerError("another process could not load its batch")

                    # Forward, terms, backward. Each batch weighs by its samples; only the last one of the
                    # step synchronizes the gradients.
                    synchronize = number == numbers[-1]
                    with contextlib.nullcontext() if synchronize else accelerator.no_sync(module):
                        with accelerator.autocast(), statistics, equal_rows(source.is_even(number)):
                            terms, extra = task.terms(module, batch)
                        loss = weighted_sum(terms, task.weights_at(state.epoch))
                        state.watch(terms, loss, number)
                        accelerator.backward(loss * (source.weight(number) / samples))
                    # The memory is written by row and class: images need not wait for the step's end.
                    written.append(({n: v for n, v in batch.items() if v.ndim == 1}, extra))

                # Step.
                if (step + 1) % check_interval == 0 or numbers[-1] + 1 == source.batches_per_epoch:
                    state.require_finite()
                for group, rate in zip(own.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
                if config.clip_norm is not None:
                    accelerator.unscale_gradients(stepper)
                    nn.utils.clip_grad_norm_(task.module.parameters(), config.clip_norm)
                stepper.step()
                stepper.zero_grad()
                if task.average is not None:
                    task.average.update(step + 1)

                # Update the memory.
                with torch.no_grad():
                    for number, (rows, extra) in zip(numbers, written, strict=True):
                        with equal_rows(source.is_even(number)):
                            task.update(rows, extra)

                step += 1
                state.batch = numbers[-1] + 1

                # Log.
                reporter.advance(step, samples)
                if step % config.log_every == 0:
                    values = {
                        "epoch": state.epoch + 1,
                        "step": step,
                        "lr": rates[0] * factor,
                        **state.means(),
                    }
                    reporter.log_step(step, values)

                # Save.
                if state.is_due(step):
                    state.save()

            # Evaluate. The position is that after the last batch: an interruption loses nothing.
            if signum := peers.largest(signals.received)[0]:
                stop(signum)
            epoch = state.epoch + 1
            # Batch-norm statistics are each rank's own: what is judged and saved is what every rank holds.
            peers.share(task.module.buffers())
            if task.average is not None:
                peers.share(task.average.tensors.values())
            rate = rates[0] * factor_at(step - 1)
            row: dict[str, Any] = {"epoch": epoch, "step": step, "lr": rate, **state.means()}
            if evaluate is not None and (epoch % config.evaluate_every == 0 or epoch == config.epochs):
                try:
                    row |= measure(evaluate, task, peers, device, taken=set(row))
                except Interrupted:
                    state.save()  # a training inside the evaluation has taken the signal
                    raise
            state.close_epoch(row)
            reporter.log_epoch(step, row)

        frozen.verify()
        state.finish(folder, label=label)
        reporter.done(state.history[-1])
        if signum := peers.largest(signals.received)[0]:
            raise Interrupted(signum)
        return state.history


def _load(
    batches: Iterator[dict[str, Tensor]], device: torch.device
) -> tuple[dict[str, Tensor], Exception | None]:
    """The next batch on the device, or what went wrong."""
    try:
        batch = next(batches)
        return {name: values.to(device, non_blocking=True) for name, values in batch.items()}, None
    except Exception as error:
        return {}, error
