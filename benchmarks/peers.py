"""Whole training steps beside those of the two repositories that the published tables come from, in turns on
the same cores: RepDistiller, the paper's own code, and mdistiller.

Nothing of theirs is here: networks, objectives and the draw of negatives are imported from clones of yours,
and put together as their training loops do.

    git clone https://github.com/HobbitLong/RepDistiller
    git clone https://github.com/megvii-research/mdistiller
    python benchmarks/peers.py --repdistiller RepDistiller --mdistiller mdistiller \\
        --output benchmarks/results/peers-cpu.json

A step is a batch of random images on its way through teacher and student, the method's loss, backward, SGD,
the writing of the memory; of the others also the negatives that their data set draws for every sample, and
the accuracies that their loop takes. `none` is the student alone. Without a clone its rows are left out.
`--before CHECKOUT` takes another checkout of crdkit into the turns, such as a `git worktree` of an earlier
commit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from startup import commit_of, environment
from throughput import NUM_CLASSES, NUM_SAMPLES, SEED, build_step
from turns import medians, surroundings, timed_command_line, write

METHODS = ("none", "kd", "crd")
NEGATIVES = 16_384
CLONES = {"repdistiller": "crd", "mdistiller": "mdistiller"}
"""Options, and the folder that such a clone has."""
NAMES = {"repdistiller": "RepDistiller", "mdistiller": "mdistiller"}
WEIGHTS = {"none": (1.0, 0.0, 0.0), "kd": (0.1, 0.9, 0.0), "crd": (1.0, 0.0, 0.8)}
"""Of the labels, of the KL and of the method, as the scripts of both have them."""

Loss = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
"""From images, labels, sample numbers and drawn columns to logits and the loss."""


def peer_step(
    clone: Path, name: str, networks: tuple[str, str], batch_size: int, *, channels_last: bool
) -> Callable[[], None]:
    """A step of another repository's training loop on the CPU."""
    import numpy as np
    import torch

    if str(clone) not in sys.path:
        sys.path.insert(0, str(clone))
    torch.manual_seed(SEED)
    make = _repdistiller if (clone / "crd").is_dir() else _mdistiller
    loss_of, trained, accuracy = make(name, networks, torch.channels_last if channels_last else None)
    labels = torch.arange(NUM_SAMPLES) % NUM_CLASSES
    others = [np.flatnonzero(labels.numpy() != c) for c in range(NUM_CLASSES)]
    optimizer = torch.optim.SGD(trained, lr=1e-4, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        index = torch.randperm(NUM_SAMPLES)[:batch_size]
        images, target, columns = torch.rand(batch_size, 3, 32, 32), labels[index], None
        if channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if name == "crd":
            drawn = [
                np.hstack([[i], np.random.choice(others[c], NEGATIVES, replace=len(others[c]) < NEGATIVES)])
                for i, c in zip(index.tolist(), target.tolist(), strict=True)
            ]
            columns = torch.from_numpy(np.stack(drawn))
        optimizer.zero_grad()
        logits, loss = loss_of(images, target, index, columns)
        accuracy(logits, target, topk=(1, 5))
        loss.sum().backward()
        optimizer.step()

    return step


def _repdistiller(name: str, networks: tuple[str, str], memory_format: Any) -> tuple[Loss, list[Any], Any]:
    """Its loss, what it trains, and its accuracies."""
    import torch
    from torch import nn

    model_dict = import_module("models").model_dict
    teacher, student = (model_dict[network](num_classes=NUM_CLASSES) for network in networks)
    _prepare(teacher, student, memory_format)
    divergence = import_module("distiller_zoo").DistillKL(4)
    of_labels, of_divergence, of_method = WEIGHTS[name]
    trained = nn.ModuleList([student])
    criterion: Any = None
    if name == "crd":
        # Its sampler asks for CUDA wherever it is built.
        import_module("crd.memory").AliasMethod.cuda = lambda self: None
        with torch.no_grad():
            s_dim, t_dim = (_widths(network, is_feat=True)[0][-1].shape[1] for network in (student, teacher))
        criterion = import_module("crd.criterion").CRDLoss(
            Namespace(
                s_dim=s_dim,
                t_dim=t_dim,
                feat_dim=128,
                n_data=NUM_SAMPLES,
                nce_k=NEGATIVES,
                nce_t=0.07,
                nce_m=0.5,
            )
        )
        trained += [criterion.embed_s, criterion.embed_t]

    def loss_of(images: Any, target: Any, index: Any, columns: Any) -> tuple[Any, Any]:
        features, logits = student(images, is_feat=True, preact=False)
        loss = of_labels * nn.functional.cross_entropy(logits, target)
        if name != "none":
            with torch.no_grad():
                told, answers = teacher(images, is_feat=True, preact=False)
            loss = loss + of_divergence * divergence(logits, answers)
        if criterion is not None:
            loss = loss + of_method * criterion(features[-1], told[-1].detach(), index, columns)
        return logits, loss

    return loss_of, list(trained.parameters()), import_module("helper.util").accuracy


def _mdistiller(name: str, networks: tuple[str, str], memory_format: Any) -> tuple[Loss, list[Any], Any]:
    """Its loss, what it trains, and its accuracies."""
    import torch

    models = import_module("mdistiller.models").cifar_model_dict
    teacher, student = (models[network][0](num_classes=NUM_CLASSES) for network in networks)
    _prepare(teacher, student, memory_format)
    distillers = import_module("mdistiller.distillers").distiller_dict
    of_labels, of_divergence, of_method = WEIGHTS[name]
    if name == "none":
        distiller = distillers["NONE"](student)
    elif name == "kd":
        weights = Namespace(CE_WEIGHT=of_labels, KD_WEIGHT=of_divergence)
        distiller = distillers["KD"](student, teacher, Namespace(KD=Namespace(TEMPERATURE=4, LOSS=weights)))
    else:
        # Its sampler asks for CUDA wherever it is built.
        import_module("mdistiller.distillers.CRD").AliasMethod.cuda = lambda self: None
        with torch.no_grad():
            widths = [_widths(network)[1]["pooled_feat"].shape[1] for network in (student, teacher)]
        settings = Namespace(
            LOSS=Namespace(CE_WEIGHT=of_labels, FEAT_WEIGHT=of_method),
            FEAT=Namespace(STUDENT_DIM=widths[0], TEACHER_DIM=widths[1], DIM=128),
            NCE=Namespace(K=NEGATIVES, MOMENTUM=0.5, TEMPERATURE=0.07),
        )
        distiller = distillers["CRD"](student, teacher, Namespace(CRD=settings), NUM_SAMPLES)
    distiller.train()

    def loss_of(images: Any, target: Any, index: Any, columns: Any) -> tuple[Any, Any]:
        logits, losses = distiller(
            image=images, target=target, index=index, contrastive_index=columns, epoch=1
        )
        return logits, sum(loss.mean() for loss in losses.values())

    return loss_of, distiller.get_learnable_parameters(), _accuracy


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from throughput import build_step
torch.set_num_threads(int(sys.argv[2]))
step = build_step(sys.argv[3], tuple(sys.argv[4:6]), int(sys.argv[6]), "cpu")
for _ in sys.stdin:
    step()
    print(flush=True)
"""


def earlier_step(
    checkout: Path, name: str, networks: tuple[str, str], batch_size: int, folder: Path
) -> Callable[[], None]:
    """A step of another checkout of crdkit, in a process of its own that waits between its turns."""
    import torch

    numbers = str(torch.get_num_threads()), name, *networks, str(batch_size)
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(checkout / "benchmarks"), *numbers],
        text=True,
        env=environment(checkout, folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def step() -> None:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise SystemExit(f"a step of {checkout} ended with status {process.wait()}")

    return step


def _accuracy(logits: Any, target: Any, topk: tuple[int, ...]) -> list[float]:
    """Top-k accuracies as percentages, read one by one as mdistiller's loop does; its own function lies in a
    module that asks for packages of its logging."""
    hits = logits.topk(max(topk), dim=1).indices == target.unsqueeze(1)
    return [100 * float(hits[:, :k].any(dim=1).float().mean()) for k in topk]


def _prepare(teacher: Any, student: Any, memory_format: Any) -> None:
    if memory_format is not None:
        teacher.to(memory_format=memory_format)
        student.to(memory_format=memory_format)
    teacher.eval()
    student.train()


def _widths(network: Any, **how: Any) -> Any:
    """What a network returns of two images, in eval mode; it gets its own mode back."""
    import torch

    was = network.training
    found = network.eval()(torch.rand(2, 3, 32, 32), **how)
    network.train(was)
    return found


def main() -> None:
    parser = timed_command_line(__doc__)
    parser.add_argument("--before", type=Path, help="another checkout of crdkit")
    for option in CLONES:
        parser.add_argument(f"--{option}", type=Path, help="a clone of it")
    parser.add_argument("--teacher", default="resnet32x4")
    parser.add_argument("--student", default="resnet8x4")
    parser.add_argument("--batch-size", type=int, default=64)
    given = parser.parse_args()
    clones = {who: path for who in CLONES if (path := getattr(given, who)) is not None}
    for who, path in clones.items():
        if not (path / CLONES[who]).is_dir():
            parser.error(f"--{who} {path} is no clone of it: there is no folder {CLONES[who]}")
    before = None if given.before is None else given.before.resolve()
    commits = {} if before is None else {"before": commit_of(before)}
    around = surroundings(given)
    networks, size = (given.teacher, given.student), given.batch_size
    steps: dict[str, Callable[[], None]] = {}
    folder = tempfile.TemporaryDirectory()
    for name in METHODS:
        if before is not None:
            steps[f"{name}: crdkit before"] = earlier_step(before, name, networks, size, Path(folder.name))
        steps[f"{name}: crdkit"] = build_step(name, networks, size, given.device)
        steps[f"{name}: crdkit bf16"] = build_step(name, networks, size, given.device, "bf16")
        for who, path in clones.items():
            for last, words in ((False, ""), (True, " channels_last")):
                steps[f"{name}: {NAMES[who]}{words}"] = peer_step(
                    path, name, networks, size, channels_last=last
                )
    rows = {}
    for name, seconds in medians(steps, given.rounds).items():
        method, _, who = name.partition(": ")
        rows[name] = {"method": method, "who": who, "seconds": seconds}
        print(f"{name:34}{seconds * 1e3:9.1f} ms", flush=True)
    write(
        given.output,
        "peers",
        around,
        seed=SEED,
        teacher=given.teacher,
        student=given.student,
        batch_size=size,
        num_samples=NUM_SAMPLES,
        num_negatives=NEGATIVES,
        steps=rows,
        commits=commits,
    )


if __name__ == "__main__":
    main()
