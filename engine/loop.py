"""The one training loop."""

import contextlib
import math
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
from .errors import Interrupted, NotKeptError, WorkerError
from .evaluate import Evaluate, measure
from .files import prepare_folder
from .finished import CHECKPOINTS, make_fingerprint, read_finished
from .guards import FrozenGuard
from .launch import prepare, release
from .optimization import OptimizerFactory, Schedule, lr_factor, make_optimizer, names_of
from .peers import Peers
from .progress import Progress
from .rng import derive_seed, seed_all
from .sampler import BatchSource
from .signals import StopSignals
from .state import TrainState, require_same_everywhere, required_space
from .task import Task, check_task, require_gradients, weighted_sum
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
    progress: Progress | None = None,
    retrain: bool = True,
) -> list[dict[str, Any]]:
    """Train to the end, from the beginning or from the folder's newest whole checkpoint.

    On a CPU the result is bit-identical whether, where and however often the training was interrupted, given
    the same number of threads, on which torch's summation order depends.

    The folder holds `metrics.jsonl` from the start, `checkpoints/` until the end, then `model.safetensors`
    (the module), `model-ema.safetensors` (`task.average`, if there is one), `history.json` and, written last,
    `manifest.json` (the training's fingerprint). A folder with a manifest is finished: the call loads the
    weights into `task.module` and returns the history. The memory is not part of the results.

    Each process trains on a slice of every batch; the loss of a step is the mean over the samples of
    `config.accumulate` batches. After SIGTERM, SIGINT or SIGUSR1 on any process, all of them finish the step,
    save the same bits and stop.

    Args:
        task: the module, its terms, the memory and the frozen networks.
        dataset: `__len__` and `__getitem__(i) -> dict of tensors`, or `__getitems__(indices)` for a batch.
        config: how to train.
        folder: this training's own folder.
        accelerator: device, processes, precision, trackers; its own gradient accumulation must be off.
        seed: seed of the data's order and of every random number in the training, but not of the initial
            weights.
        evaluate: called on every process with the unwrapped module in eval mode, every
            `config.evaluate_every` epochs and after the last; returns values for the history.
        label: name of this training in lines and trackers.
        fingerprint: JSON values that must be the same on resume, besides those that the engine compares
            (configuration, weights, seed, shapes, number of samples and processes, precision).
        optimizer: trainable parameters -> their optimizer, instead of the configured one; the schedule
            multiplies its learning rate. Its state must be tensors and numbers.
        schedule: learning-rate schedule instead of the configured one.
        progress: progress of the whole command, of which this training is one stage; used to print the total
            time remaining.
        retrain: whether a finished training whose weights were not kept is trained again.

    Returns:
        The history, a row for each epoch: `epoch` and `step` (done so far), `lr`, `loss`, the mean of each
        term over the epoch's samples, and what `evaluate` returned.

    Raises:
        TaskError: the task breaks its contract.
        ResumeError: the folder belongs to another training; the message lists the differences. A
            `NotKeptError` if it is the same training, its weights were deleted and `retrain` is off.
        CheckpointError, OutputError: no checkpoint is whole; the folder cannot be written.
        NonFiniteError: a term or a weight became NaN or infinite; the last good checkpoint stays.
        FrozenError: a frozen network changed.
        RanksError: the processes do not hold the same frozen networks, results or folder.
        WorkerError: a data worker died.
        Interrupted: a signal arrived; a `SystemExit` with code 128 + the signal's number.
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
        weights_dropped = False
        try:
            history = read_finished(folder, task, known)
            if peers.agree(history is not None, folder):
                require_same_everywhere(task, peers, label or str(folder))
                return history or []
        except NotKeptError:
            if not retrain:
                raise
            weights_dropped = True
        if peers.is_main:
            prepare_folder(folder, required_space(task, config, folder / CHECKPOINTS))
            stack.enter_context(hold(folder))
        if task.memory is not None:
            task.memory.to(device)
            peers.share_state(task.memory)
        frozen = FrozenGuard(task.frozen, device)
        peers.require_same(frozen.digests, f"{label or folder} before its training")
        base_optimizer = make_optimizer(config, task.module.parameters(), optimizer)
        base_lrs = [group["lr"] for group in base_optimizer.param_groups]
        if config.compile:
            task.module.compile()
        module, prepared_optimizer = prepare(accelerator, task, base_optimizer)
        stack.callback(release, accelerator, module, prepared_optimizer)

        state = TrainState(
            task,
            base_optimizer,
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
        step = first_step = state.epoch * steps_per_epoch + math.ceil(state.batch / config.accumulate)
        reporter = stack.enter_context(
            contextlib.closing(
                Reporter(
                    folder,
                    accelerator,
                    label=label,
                    total=total_steps,
                    step=step,
                    epoch=state.epoch,
                    progress=progress,
                )
            )
        )
        reporter.say_start(config, peers.size, retrained=weights_dropped)
        shared_batchnorm = shared_statistics(config.sync_batchnorm)
        batches = source.load(
            state.epoch, state.batch, num_workers=config.num_workers, pin_memory=device.type == "cuda"
        )

        def factor_at(step: int) -> float:
            if schedule is not None:
                return schedule(step, total_steps)
            return lr_factor(step, config=config, steps_per_epoch=steps_per_epoch)

        def stop(signum: int) -> NoReturn:
            error = Interrupted(signum)
            reporter.say(f"stopped by {error.signal.name} after step {step}, saved {state.save()}")
            raise error

        while state.epoch < config.epochs:
            task.module.train()
            frozen.hold()
            while state.batch < source.batches_per_epoch:
                last = min(state.batch + config.accumulate, source.batches_per_epoch) - 1
                batch_indices = range(state.batch, last + 1)
                samples = sum(source.size(i) for i in batch_indices)
                factor = factor_at(step)
                memory_updates = []
                for i in batch_indices:
                    # Load. All ranks learn of a failure or a signal on one of them: none waits for it.
                    batch, load_error = _load(batches, device)
                    failed, signum = peers.largest(load_error is not None, signals.received)
                    if signum and i == state.batch:
                        stop(signum)
                    if failed:
                        raise load_error or WorkerError("another process could not load its batch")

                    # Forward, terms, backward. Each batch has the weight of its samples; gradients are
                    # synchronized in the last batch of the step only.
                    with contextlib.nullcontext() if i == last else accelerator.no_sync(module):
                        with accelerator.autocast(), shared_batchnorm, equal_rows(source.is_even(i)):
                            terms, extra = task.terms(module, batch)
                        loss = weighted_sum(terms, task.weights_at(state.epoch))
                        state.watch(terms, loss, i)
                        accelerator.backward(loss * (source.weight(i) / samples))
                    # `update` needs no images: they are freed before the end of the step.
                    memory_updates.append(({n: v for n, v in batch.items() if v.ndim == 1}, extra))

                # Step.
                if step == first_step and peers.size > 1:
                    require_gradients(task)
                if (step + 1) % check_interval == 0 or last + 1 == source.batches_per_epoch:
                    state.require_finite()
                for group, lr in zip(base_optimizer.param_groups, base_lrs, strict=True):
                    group["lr"] = lr * factor
                if config.clip_norm is not None:
                    accelerator.unscale_gradients(prepared_optimizer)
                    nn.utils.clip_grad_norm_(task.module.parameters(), config.clip_norm)
                prepared_optimizer.step()
                prepared_optimizer.zero_grad()
                if task.average is not None:
                    task.average.update(step + 1)

                # Update the memory.
                with torch.no_grad():
                    for i, (metadata, extra) in zip(batch_indices, memory_updates, strict=True):
                        with equal_rows(source.is_even(i)):
                            task.update(metadata, extra)

                step += 1
                state.batch = last + 1

                # Log and save.
                reporter.advance(step, samples)
                if step % config.log_every == 0:
                    position = {"epoch": state.epoch + 1, "step": step, "lr": base_lrs[0] * factor}
                    reporter.log_step(step, {**position, **state.means()})
                if state.is_due(step):
                    state.save()

            # Evaluate. The position is that after the last batch: an interruption loses nothing.
            if signum := peers.largest(signals.received)[0]:
                stop(signum)
            epoch = state.epoch + 1
            # Each rank has its own batch-norm statistics: all evaluate and save the main process's.
            peers.share(task.module.buffers())
            if task.average is not None:
                peers.share(task.average.tensors.values())
            lr = base_lrs[0] * factor_at(step - 1)
            row: dict[str, Any] = {"epoch": epoch, "step": step, "lr": lr, **state.means()}
            if evaluate is not None and (epoch % config.evaluate_every == 0 or epoch == config.epochs):
                try:
                    row |= measure(evaluate, task, peers, device, taken=set(row))
                except Interrupted:
                    state.save()  # a training inside the evaluation has received the signal
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
    """Return the next batch on the device and None, or an empty batch and the error."""
    try:
        batch = next(batches)
        return {name: values.to(device, non_blocking=True) for name, values in batch.items()}, None
    except Exception as error:
        return {}, error
