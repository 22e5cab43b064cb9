"""What a distiller adds to a training step of the compression pipeline, and how many images a second remain.

A step is what the pipeline does with a batch: teacher forward, student forward, the method's terms, backward,
SGD, the writing of the memory. `none` is the student alone, `taught` the same with the teacher's forward and
no term: what a method takes beyond that is the distiller's share. `crd, published` puts the plain published
formulation of `benchmarks/published.py` (K+1 gathered rows a sample) in the place of ours. All take turns in
one run; times are medians over the rounds. `kd` is then timed with larger images, too.

    python benchmarks/throughput.py --output benchmarks/results/throughput-cpu.json
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from turns import medians, surroundings, timed_command_line, training_step, write

if TYPE_CHECKING:
    from torch import Tensor

    from crdkit.distillers import BatchMeta, FeatureSpec, Term

METHODS = ("kd", "fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "nst", "crd", "dkd", "dist", "reviewkd")
NUM_SAMPLES, NUM_CLASSES, SEED = 50_000, 100, 0
SIZES = (32, 48, 64, 96)
"""Height and width of images, pixels."""


def published_crd(spec: FeatureSpec) -> Term:
    """CRD with uniform negatives, in the published formulation."""
    from published import published_loss
    from torch import nn

    from crdkit.distillers import build_terms, parse_method

    (term,) = build_terms(parse_method("crd", {"crd": {"negatives": "uniform"}}), [spec]).values()
    contrast: Any = next(part for part in term.objective.modules() if hasattr(part, "bank_student"))
    loss, write = published_loss(contrast, contrast.config.num_negatives)

    class Published(nn.Module):
        """The objective of the term, on the banks of ours."""

        def __init__(self) -> None:
            super().__init__()
            self.contrast = contrast

        def forward(self, of_the_teacher: tuple[Tensor, Tensor], *, meta: BatchMeta) -> Tensor:
            return loss(*of_the_teacher, meta.index)

        def update(self, index: Tensor, z_s: Tensor, z_t: Tensor) -> None:
            write(index, z_s, z_t)

    return replace(term, objective=Published())


def build_step(
    name: str, networks: tuple[str, str], batch_size: int, device: str, precision: str = "no", size: int = 32
) -> Callable[[], None]:
    """One training step of a method, on random images of `size` × `size` pixels."""
    import torch

    from crdkit.data import Statistics
    from crdkit.distillers import build_terms, parse_method
    from crdkit.models import create
    from crdkit.transfer import Inputs, Teacher, TeacherTargets, TransferData, TransferTask, make_spec

    torch.manual_seed(SEED)
    teacher, student = (
        create(network, num_classes=NUM_CLASSES).to(device).to(memory_format=torch.channels_last)
        for network in networks
    )
    labels = torch.arange(NUM_SAMPLES) % NUM_CLASSES
    plain = Statistics(mean={"rgb": (0.0,) * 3}, std={"rgb": (1.0,) * 3})
    data = TransferData(labels, torch.nn.Identity(), "rgb", plain, (size, size), labels=labels)
    spec = make_spec(student, Teacher(teacher), data)
    terms: dict[str, Term] = {}
    if name == "crd, published":
        terms = {"crd": published_crd(spec)}
    elif name not in ("none", "taught"):
        terms = build_terms(parse_method(name), [spec])
    targets: Any = (lambda batch: ()) if name == "none" else TeacherTargets([Teacher(teacher)])
    task = TransferTask(student, terms, Inputs(targets), task_weight=1.0)

    def read(rows: Tensor) -> dict[str, Tensor]:
        images = torch.rand(len(rows), *data.shape("rgb"), device=device)
        return {"index": rows, "rgb": images, "label": labels[rows]}

    return training_step(task, read, NUM_SAMPLES, batch_size=batch_size, device=device, precision=precision)


def main() -> None:
    parser = timed_command_line(__doc__)
    parser.add_argument("--teacher", default="resnet32x4")
    parser.add_argument("--student", default="resnet8x4")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--method", nargs="+", default=list(METHODS))
    given = parser.parse_args()
    around = surroundings(given)
    names = ["none", "taught", *given.method, *(["crd, published"] if "crd" in given.method else [])]
    networks = (given.teacher, given.student)
    steps = {name: build_step(name, networks, given.batch_size, given.device) for name in names}
    times = medians(steps, given.rounds)
    methods: dict[str, Any] = {}
    for name, seconds in times.items():
        rate, share = given.batch_size / seconds, max(0.0, 1 - times["taught"] / seconds)
        methods[name] = {"seconds": seconds, "images_per_second": rate, "distiller_share": share}
        print(f"{name:15}{seconds * 1e3:9.1f} ms{rate:9.1f} images/s{100 * share:7.1f} % in the distiller")
    larger = {str(n): build_step("kd", networks, given.batch_size, given.device, size=n) for n in SIZES}
    sizes = medians(larger, 3)
    for size, seconds in sizes.items():
        print(f"kd, {size} × {size}{seconds * 1e3:13.1f} ms")
    write(
        given.output,
        "throughput",
        around,
        seed=SEED,
        teacher=given.teacher,
        student=given.student,
        batch_size=given.batch_size,
        num_samples=NUM_SAMPLES,
        methods=methods,
        sizes=sizes,
    )


if __name__ == "__main__":
    main()
