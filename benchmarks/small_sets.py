"""The loss in the README's loop on few samples: what the number of negatives does to the task beside it.

The students see M of scikit-learn's digits, the teacher all; every student is trained alone, with the loss
as published and as it is by default, with batch norms and without. Recorded are the
accuracy on the test digits, and the largest gradient of the loss by a batch of the student's features.

    python benchmarks/small_sets.py --output benchmarks/results/small-sets-cpu.json
"""

import argparse
import statistics
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from turns import command_line, surroundings, write

from crdkit.contrast import CRDLoss

SIZES = (256, 1024)
TRAIN, CLASSES, WIDTH = 1438, 10, 64
BATCH_SIZE, STEPS, LR, WEIGHT = 32, 320, 0.05, 0.8

Split = tuple[Tensor, Tensor]


def losses(num_samples: int) -> dict[str, dict[str, Any] | None]:
    """The settings of `CRDLoss` by name; None for no loss at all."""
    return {
        "none": None,
        "published: uniform, nce, K = 16,384": {"num_negatives": 16_384},
        "uniform, nce, K = M/3": {"num_negatives": num_samples // 3},
        "uniform, infonce, K = M/3": {"num_negatives": num_samples // 3, "objective": "infonce"},
        "batch, nce": {"negatives": "batch", "objective": "nce"},
        "default: batch, infonce": {},
    }


def network(width: int, *, norms: bool) -> nn.Sequential:
    """Two convolutions; features of this width."""

    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(outputs)] if norms else []
        return [nn.Conv2d(inputs, outputs, 3, stride, 1), *norm, nn.ReLU()]

    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*block(1, width // 2, 1), *block(width // 2, width, 2), *pool)


def digits() -> tuple[Split, Split]:
    """Images (n, 1, 8, 8) in [0, 1] with their labels, for training and for the test."""
    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    images = torch.from_numpy(found.images).float().unsqueeze(1)[order] / 16
    labels = torch.from_numpy(found.target).long()[order]
    return (images[:TRAIN], labels[:TRAIN]), (images[TRAIN:], labels[TRAIN:])


@torch.no_grad()
def accuracy(body: nn.Module, classify: nn.Module, split: Split) -> float:
    """Share of right answers; the networks end in eval mode."""
    return (classify(body.eval()(split[0])).argmax(1) == split[1]).float().mean().item()


def make_teacher(train: Split, test: Split) -> tuple[nn.Module, float]:
    """A wider network, trained on all digits, and its accuracy."""
    torch.manual_seed(0)
    body, classify = network(2 * WIDTH, norms=True), nn.Linear(2 * WIDTH, CLASSES)
    optimizer = torch.optim.SGD([*body.parameters(), *classify.parameters()], lr=0.1, momentum=0.9)
    for _ in range(12):
        for index in torch.randperm(TRAIN).split(64):
            optimizer.zero_grad()
            F.cross_entropy(classify(body(train[0][index])), train[1][index]).backward()
            optimizer.step()
    return body, accuracy(body, classify, test)


def run(
    settings: Mapping[str, Any] | None, target: Tensor, train: Split, test: Split, *, norms: bool, seed: int
) -> tuple[float, float]:
    """Test accuracy of a student, and the largest gradient of the weighted loss by its features, (B, C)."""
    torch.manual_seed(seed)
    num_samples, largest = len(target), 0.0
    body, classify = network(WIDTH, norms=norms), nn.Linear(WIDTH, CLASSES)
    crd = CRDLoss(WIDTH, target.shape[1], num_samples, **(settings or {}))
    parameters = [*body.parameters(), *classify.parameters(), *crd.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=LR, momentum=0.9)
    for step in range(STEPS):
        if step * BATCH_SIZE % num_samples == 0:
            order = torch.randperm(num_samples)
        index = order.roll(-step * BATCH_SIZE)[:BATCH_SIZE]
        features = body(train[0][index])
        loss = F.cross_entropy(classify(features), train[1][index])
        if settings is not None:
            term = WEIGHT * crd(features, target[index], index)
            (gradient,) = torch.autograd.grad(term, features, retain_graph=True)
            largest = max(largest, gradient.norm().item())
            loss = loss + term
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return accuracy(body, classify, test), largest


def parse() -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="M")
    return parser.parse_args()


def main() -> None:
    given = parse()
    torch.set_num_threads(1)
    around = surroundings(given)
    train, test = digits()
    teacher, found = make_teacher(train, test)
    print(f"teacher {found:.3f}")
    rows = []
    for norms in (False, True):
        for size in given.sizes:
            few = train[0][:size], train[1][:size]
            with torch.no_grad():
                target = teacher(few[0])
            for name, settings in losses(size).items():
                runs = [
                    run(settings, target, few, test, norms=norms, seed=seed) for seed in range(given.seeds)
                ]
                accuracies, gradients = (list(values) for values in zip(*runs, strict=True))
                rows.append(
                    {
                        "batch_norms": norms,
                        "num_samples": size,
                        "loss": name,
                        "accuracies": accuracies,
                        "largest_gradients": gradients,
                    }
                )
                mean = statistics.mean(accuracies)
                print(f"norms {norms!s:5} M {size:5} {name:20} {mean:.3f} {max(gradients):10.1f}", flush=True)
    write(
        given.output,
        "small_sets",
        around,
        teacher=found,
        batch_size=BATCH_SIZE,
        steps=STEPS,
        lr=LR,
        weight=WEIGHT,
        seeds=given.seeds,
        rows=rows,
    )


if __name__ == "__main__":
    main()
