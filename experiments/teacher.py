"""Train an image classifier, to be the teacher of a transfer.

    accelerate launch experiments/teacher.py --data imagenette96.h5 --output runs/teacher

The data are a packed HDF5 file: a group for each split with `images` (JPEG or PNG bytes) and `labels`. The
run folder gets `model.safetensors`, which `--teacher.weights` of the other scripts takes, `results.json`, and
the training in `training/`. The same command with `--resume` continues an interrupted run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from crdkit.engine.config import TrainConfig


@dataclass(frozen=True)
class TeacherRun:
    """Supervised training of a classifier; every setting has its default here."""

    data: Path
    """The packed HDF5 file."""
    output: Path
    """The run folder."""
    resume: bool = False
    """Continue the run in `output`."""
    architecture: str = "resnet18"
    """Any name that `crdkit.models.create` takes."""
    size: tuple[int, int] | None = None
    """Height and width to train at; the stored size where absent."""
    label_smoothing: float = 0.1
    """Share of the target spread over all classes."""
    seed: int = 0
    """Seed of the weights, the order and the augmentation."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision; bf16 is faster on CPUs with AVX512-BF16 or AMX and slower on others."""
    cpu: bool = False
    """Stay on the CPU even where there is a GPU."""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            epochs=30,
            batch_size=64,
            learning_rate=0.05,
            nesterov=True,
            schedule="cosine",
            warmup_epochs=2,
            evaluate_every=5,
        )
    )
    """Optimisation."""


def run(config: TeacherRun) -> dict[str, Any]:
    """Train to the end, or resume; returns the metrics: top-1 of the last and of the best epoch."""
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    from crdkit.data import ImageAugment, Normalise, PackedImages, Statistics
    from crdkit.engine import Task, make_accelerator, train
    from crdkit.experiments.provenance import environment
    from crdkit.experiments.report import write_results
    from crdkit.models import Normalised, create, save_weights

    class Classify(Task):
        def __init__(self, network: nn.Module) -> None:
            self.module = network
            self.augment = ImageAugment()
            self.weights = {"task": 1.0}

        def terms(self, module: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Any]:
            with torch.autocast(batch["rgb"].device.type, enabled=False):
                images = self.augment(batch)["rgb"]
            logits = module(images).logits.float()
            return {
                "task": F.cross_entropy(logits, batch["label"], label_smoothing=config.label_smoothing)
            }, None

    accelerator = make_accelerator(precision=config.precision, cpu=config.cpu)
    training = PackedImages(config.data, "train", size=config.size)
    if training.num_classes is None or "label" not in training.views:
        raise ValueError(f"{config.data} has no labels for its training split, or no attribute `classes`")
    testing = PackedImages(config.data, "test", size=config.size)
    torch.manual_seed(config.seed)
    classifier = create(config.architecture, num_classes=training.num_classes)
    normalise = Normalise(Statistics.measure(training), "rgb")
    network = Normalised(normalise, classifier).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def evaluate(module: nn.Module) -> dict[str, float]:
        right = 0
        for start in range(0, len(testing), 128):
            batch = testing.__getitems__(range(start, min(start + 128, len(testing))))
            with accelerator.autocast():
                logits = module(batch["rgb"].to(accelerator.device)).logits
            right += int((logits.argmax(1).cpu() == batch["label"]).sum())
        return {"top1": right / len(testing)}

    try:
        history = train(
            Classify(network), training, config.train, config.output / "training",
            accelerator=accelerator, seed=config.seed, evaluate=evaluate, label=config.architecture,
        )  # fmt: skip
        scores = [row["top1"] for row in history if "top1" in row]
        metrics = {"top1": scores[-1], "best_top1": max(scores)}
        if accelerator.is_main_process:
            save_weights(classifier, config.output / "model.safetensors")
            write_results(
                config.output, task="teacher", preset=config.data.stem,
                runs=[{"method": config.architecture, "seed": config.seed, "metrics": metrics}],
                environment=environment(), config=asdict(config),
            )  # fmt: skip
            print(
                f"top-1 {100 * metrics['top1']:.2f} (best {100 * metrics['best_top1']:.2f}); "
                f"{config.output / 'model.safetensors'}"
            )
    finally:
        accelerator.end_training()
    return metrics


def main() -> None:
    """Entry point of the command line."""
    import tyro

    config = tyro.cli(TeacherRun, description=__doc__)
    from crdkit.data import DataError
    from crdkit.engine import CrdkitError

    try:
        if config.output.exists() and not config.resume:
            raise FileExistsError(
                f"{config.output} exists; name another --output, or continue it with --resume"
            )
        run(config)
    except (CrdkitError, DataError, OSError, ValueError) as error:
        raise SystemExit(f"teacher.py: {error}") from None


if __name__ == "__main__":
    main()
