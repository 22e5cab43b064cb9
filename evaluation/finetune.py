"""Fine-tuning: what a representation is worth as the start of a supervised training."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from ..engine import Accelerator, SupervisedTask, TrainConfig, seeded, train
from ..models import Outputs, measure
from .evaluator import Evaluator


class Classified(nn.Module):
    """An encoder under a linear classifier of its embedding.

    Args:
        encoder: returns `Outputs`.
        classifier: embedding (B, D) -> logits (B, C).
    """

    def __init__(self, encoder: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = classifier

    def forward(self, modality: Tensor) -> Outputs:
        """The encoder's `Outputs` with the classifier's logits."""
        outputs: Outputs = self.encoder(modality)
        return outputs._replace(logits=self.classifier(outputs.embedding))


def attach_classifier(
    encoder: nn.Module, num_classes: int, input_size: tuple[int, int, int], *, seed: int
) -> Classified:
    """An encoder, kept and not copied, under a new classifier whose weights `seed` alone decides."""
    width = measure(encoder, input_size).embedding
    with seeded(seed):
        return Classified(encoder.cpu(), nn.Linear(width, num_classes))


def finetune(
    encoder: nn.Module,
    train_set: Dataset[Any],
    test_set: Dataset[Any],
    num_classes: int,
    config: TrainConfig,
    folder: str | Path,
    *,
    modality: str,
    accelerator: Accelerator,
    seed: int = 0,
    augment: nn.Module | None = None,
) -> tuple[Classified, list[dict[str, Any]]]:
    """Train an encoder and a new classifier on labeled images, all of their weights.

    Args:
        encoder: returns `Outputs`; its weights are changed.
        train_set, test_set: samples with `index`, `label` and the modality, or what `augment` makes it of.
        num_classes: C.
        config: how to train.
        folder: this training's own, as for `crdkit.engine.train`, whose errors it raises.
        modality: name of the entry that the encoder takes.
        accelerator: device, processes and precision.
        seed: of the classifier's weights, the order and the augmentation.
        augment: batch -> batch, in training; None changes nothing.

    Returns:
        The network, on the device, and the history, with `top1` on the test set.
    """
    sample = test_set[0][modality]
    channels, height, width = sample.shape
    network = attach_classifier(encoder, num_classes, (channels, height, width), seed=seed)

    judge = Evaluator(test_set, num_classes, accelerator, modality=modality)
    history = train(
        SupervisedTask(network, augment or nn.Identity(), modality=modality),
        train_set,
        config,
        folder,
        accelerator=accelerator,
        seed=seed,
        evaluate=judge.top1(),
        label="finetune",
    )
    return network.to(accelerator.device), history
