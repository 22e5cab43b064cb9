"""Train an image classifier, to be the teacher of a transfer.

    crdkit teacher                                        digits, a minute
    crdkit teacher cifar100 --data.root DIR               the published recipe
    crdkit teacher imagenette --data.root imagenette96.h5

The run folder gets `model.safetensors`, the network with its normalization, which `--teacher.weights` of the
other scripts takes, `results.json`, and the training in `training/`. The same command with `--resume`
continues an interrupted run.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from crdkit.data import ImageAugmentConfig, ImagesConfig
from crdkit.engine import LaunchConfig, TrainConfig


@dataclass(frozen=True)
class TeacherRun(LaunchConfig):
    """Supervised training of a classifier; every setting has its default here."""

    data: ImagesConfig = field(default_factory=ImagesConfig)
    """The images."""
    architecture: str = "resnet20"
    """Any name that `crdkit.models.create` takes."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""
    seed: int = 0
    """Seed of the weights, the order and the augmentation."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimization; the defaults are the published recipe of CIFAR-100."""


PRESETS = {
    # The embedded default: scikit-learn's digits, in a minute.
    "digits": TeacherRun(train=TrainConfig.cosine(8)),
    # The published recipe of CIFAR-100.
    "cifar100": TeacherRun(
        data=ImagesConfig.cifar100(), architecture="resnet32x4", train=TrainConfig(evaluate_every=5)
    ),
    # Ten classes of ImageNet at 64 x 64, in a quarter of an hour on a CPU: for `crossmodal.py nyu-small`.
    "imagenette": TeacherRun(
        data=ImagesConfig(source="packed", size=64, augment=ImageAugmentConfig()),
        architecture="resnet18",
        label_smoothing=0.1,
        precision="bf16",
        train=TrainConfig.cosine(36, warmup_epochs=2, evaluations=6),
    ),
}


def run(config: TeacherRun, preset: str) -> dict[str, Any]:
    """Train to the end, or resume; returns the metrics: top-1 of the last and of the best epoch."""
    import copy

    import torch

    from crdkit.data import load_splits
    from crdkit.deploy import describe
    from crdkit.engine import SupervisedTask, last_and_best, seeded, train
    from crdkit.evaluation import Evaluator
    from crdkit.experiments.session import session
    from crdkit.models import save_weights
    from crdkit.pipelines import Stage, trial_step
    from crdkit.reports import write_results
    from crdkit.transfer import make_network

    with session(config, f"teacher-{preset}") as (folder, accelerator, provenance):
        config = replace(config, precision=accelerator.mixed_precision)
        images = load_splits(config.data, accelerator.device)
        statistics = images.statistics or images.measure_statistics(num_workers=config.train.num_workers)
        torch.manual_seed(config.seed)
        network = make_network(config.architecture, "rgb", statistics, num_classes=images.num_classes)
        evaluator = Evaluator(
            images.test, images.num_classes, accelerator, num_workers=config.train.num_workers
        )
        with seeded(0):
            unused = SupervisedTask(copy.deepcopy(network), images.augment)
            trial_step(Stage(unused, images.train), config.train, accelerator, what=config.architecture)
        history = train(
            SupervisedTask(network, images.augment, label_smoothing=config.label_smoothing),
            images.train,
            config.train,
            folder / "training",
            accelerator=accelerator,
            seed=config.seed,
            evaluate=evaluator.top1(),
            label=config.architecture,
        )
        metrics = last_and_best(history, "top1")
        if accelerator.is_main_process:
            description = describe(
                network,
                architecture=config.architecture,
                modality="rgb",
                shape=tuple(images.train[0]["rgb"].shape),
                class_names=images.class_names,
                **images.reading,
            )
            save_weights(network, folder / "model.safetensors", description=description)
            write_results(
                folder,
                task="teacher",
                preset=preset,
                runs=[{"method": config.architecture, "seed": config.seed, "metrics": metrics}],
                environment=provenance,
                config=asdict(config),
            )
            print(
                f"top-1 {100 * metrics['top1']:.2f} (best {100 * metrics['best_top1']:.2f}); "
                f"{folder / 'model.safetensors'}"
            )
    return metrics


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command line."""
    from crdkit.experiments import command

    command.main("teacher", run, PRESETS, arguments=arguments, default="digits", description=__doc__ or "")


if __name__ == "__main__":
    main()
