"""Whole training steps beside those of RepDistiller, the paper's own code, in turns on the same cores.

Nothing of theirs is here: networks, objectives and the draw of negatives are imported from a clone of yours,
and put together as its training loop does.

    git clone https://github.com/HobbitLong/RepDistiller
    python benchmarks/peers.py --repdistiller RepDistiller --output benchmarks/results/peers-cpu.json

A step is a batch of random images on its way through teacher and student, the method's loss, backward, SGD,
the writing of the memory; of RepDistiller also the negatives that its data set draws for every sample, and
the accuracies that its loop takes. `none` is the student alone. Without a clone its rows are left out.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from throughput import NUM_CLASSES, NUM_SAMPLES, SEED, build_step
from turns import medians, surroundings, timed_command_line, write

METHODS = ("none", "kd", "crd")
NEGATIVES = 16_384
WEIGHTS = {"none": (1.0, 0.0, 0.0), "kd": (0.1, 0.9, 0.0), "crd": (1.0, 0.0, 0.8)}
"""Of the labels, of the KL and of the method, as its scripts have them."""


def peer_step(
    clone: Path, name: str, networks: tuple[str, str], batch_size: int, *, channels_last: bool
) -> Callable[[], None]:
    """A step of RepDistiller's `train_distill` on the CPU."""
    import numpy as np
    import torch
    from torch import nn

    if str(clone) not in sys.path:
        sys.path.insert(0, str(clone))
    model_dict, accuracy = import_module("models").model_dict, import_module("helper.util").accuracy

    torch.manual_seed(SEED)
    teacher, student = (model_dict[network](num_classes=NUM_CLASSES) for network in networks)
    if channels_last:
        teacher, student = (network.to(memory_format=torch.channels_last) for network in (teacher, student))
    teacher.eval()
    student.train()
    labels, divergence = torch.arange(NUM_SAMPLES) % NUM_CLASSES, import_module("distiller_zoo").DistillKL(4)
    others = [np.flatnonzero(labels.numpy() != c) for c in range(NUM_CLASSES)]
    of_labels, of_divergence, of_method = WEIGHTS[name]
    trained = nn.ModuleList([student])
    criterion: Any = None
    if name == "crd":
        criterion = _criterion(student, teacher)
        trained += [criterion.embed_s, criterion.embed_t]
    optimizer = torch.optim.SGD(trained.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        index = torch.randperm(NUM_SAMPLES)[:batch_size]
        images, target = torch.rand(batch_size, 3, 32, 32), labels[index]
        if channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        features, logits = student(images, is_feat=True, preact=False)
        loss = of_labels * nn.functional.cross_entropy(logits, target)
        if name != "none":
            with torch.no_grad():
                told, answers = teacher(images, is_feat=True, preact=False)
            loss = loss + of_divergence * divergence(logits, answers)
        if criterion is not None:
            drawn = [
                np.hstack([[i], np.random.choice(others[c], NEGATIVES, replace=len(others[c]) < NEGATIVES)])
                for i, c in zip(index.tolist(), target.tolist(), strict=True)
            ]
            columns = torch.from_numpy(np.stack(drawn))
            loss = loss + of_method * criterion(features[-1], told[-1].detach(), index, columns)
        accuracy(logits, target, topk=(1, 5))
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()

    return step


def _criterion(student: Any, teacher: Any) -> Any:
    """Its CRDLoss, whose sampler asks for CUDA wherever it is built."""
    import torch

    widths = []
    for network in (student, teacher):
        was = network.training
        with torch.no_grad():
            widths.append(network.eval()(torch.rand(2, 3, 32, 32), is_feat=True)[0][-1].shape[1])
        network.train(was)
    import_module("crd.memory").AliasMethod.cuda = lambda self: None
    return import_module("crd.criterion").CRDLoss(
        Namespace(
            s_dim=widths[0], t_dim=widths[1], feat_dim=128, n_data=NUM_SAMPLES, nce_k=NEGATIVES, nce_t=0.07,
            nce_m=0.5,
        )
    )  # fmt: skip


def main() -> None:
    parser = timed_command_line(__doc__)
    parser.add_argument("--repdistiller", type=Path, help="a clone of RepDistiller")
    parser.add_argument("--teacher", default="resnet32x4")
    parser.add_argument("--student", default="resnet8x4")
    parser.add_argument("--batch-size", type=int, default=64)
    given = parser.parse_args()
    if given.repdistiller is not None and not (given.repdistiller / "crd").is_dir():
        parser.error(f"--repdistiller {given.repdistiller} is no clone of it: there is no folder crd")
    around = surroundings(given)
    networks, size = (given.teacher, given.student), given.batch_size
    steps: dict[str, Callable[[], None]] = {}
    for name in METHODS:
        steps[f"{name}: crdkit"] = build_step(name, networks, size, given.device)
        steps[f"{name}: crdkit bf16"] = build_step(name, networks, size, given.device, "bf16")
        if given.repdistiller is not None:
            for last, words in ((False, ""), (True, " channels_last")):
                steps[f"{name}: RepDistiller{words}"] = peer_step(
                    given.repdistiller, name, networks, size, channels_last=last
                )
    rows = {}
    for name, seconds in medians(steps, given.rounds).items():
        method, _, who = name.partition(": ")
        rows[name] = {"method": method, "who": who, "seconds": seconds}
        print(f"{name:34}{seconds * 1e3:9.1f} ms", flush=True)
    write(
        given.output, "peers", around, seed=SEED, teacher=given.teacher, student=given.student,
        batch_size=size, num_samples=NUM_SAMPLES, num_negatives=NEGATIVES, steps=rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
