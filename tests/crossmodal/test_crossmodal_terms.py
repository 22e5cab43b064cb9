"""The methods of the cross-modal pipeline, and what they compare."""

import pytest
import torch
from torch import Tensor, nn

from crdkit.crossmodal.config import TransferConfig
from crdkit.crossmodal.networks import TeacherTargets
from crdkit.crossmodal.terms import TERMS, Shapes, build_terms, pair_by_resolution
from crdkit.distillers import Context, parse_method
from crdkit.distillers import functional as D
from crdkit.models import Outputs

STUDENT = ((4, 12, 16), (8, 6, 8), (8, 3, 4))
SHAPES = Shapes(
    student_maps=STUDENT,
    teacher_logits=(5, 3, 4),
    teacher_map=(6, 3, 4),
    teacher_embedding=10,
    teacher_attention=((1, 6, 8), (1, 3, 4), (1, 2, 2), (1, 3, 4)),
    num_samples=20,
)
CLASSIFIER = SHAPES._replace(teacher_logits=(7,))
CONFIG = TransferConfig(
    embed_dim=8, num_negatives=6, negatives="all", queue_size=32, num_positions=6, global_queue_size=4
)


def outputs(batch: int) -> Outputs:
    maps = tuple(torch.randn(batch, *shape, requires_grad=True) for shape in STUDENT)
    return Outputs(None, maps, maps[-1].mean((2, 3)))


def targets(batch: int, shapes: Shapes) -> dict[str, Tensor]:
    named = {
        "logits": torch.randn(batch, *shapes.teacher_logits),
        "map": torch.randn(batch, *shapes.teacher_map),
        "embedding": torch.randn(batch, shapes.teacher_embedding),
    }
    return named | {f"attention{i}": torch.rand(batch, *s) for i, s in enumerate(shapes.teacher_attention)}


def test_methods_are_sums_with_factors() -> None:
    assert parse_method("none", TERMS) == {}
    assert parse_method("crd-dense+0.5*kd", TERMS) == {"crd-dense": 1.0, "kd": 0.5}
    terms = build_terms("crd-dense+0.5*kd", SHAPES, TransferConfig(kd_weight=4.0, crd_weight=0.8))
    assert {name: term.weight for name, term in terms.items()} == {"crd-dense": 0.8, "kd": 2.0}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("crd-dens", "did you mean crd-dense"),
        ("xyzzy", "known: none, kd"),
        ("kd+kd", "'kd' stands twice"),
        ("x*kd", "'x' in 'x\\*kd' is not a number"),
        ("-1*kd", "must be positive, got -1"),
        ("nan*kd", "must be positive, got nan"),
        ("none+kd", "unknown method 'none'"),
    ],
)
def test_bad_methods_are_explained(method: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_method(method, TERMS)


@pytest.mark.parametrize("shapes", [SHAPES, CLASSIFIER], ids=["segmenter", "classifier"])
@pytest.mark.parametrize("name", TERMS)
def test_every_term_learns_and_writes_its_memory(name: str, shapes: Shapes) -> None:
    term = build_terms(name, shapes, CONFIG)[name]
    student, said = outputs(6), targets(6, shapes)
    context = Context(torch.tensor([3, 1, 4, 15, 9, 2]), None)
    projected = term.projector(student, said)
    term.loss(projected, context).backward()
    assert student.maps[-1].grad is not None and student.maps[-1].grad.abs().sum() > 0
    weights = list(term.projector.parameters())
    assert all(weight.grad is not None for weight in weights)

    memory = dict(term.objective.named_buffers())
    before = {key: value.clone() for key, value in memory.items()}
    with torch.no_grad():
        term.update(projected, context)
    changed = {key for key, value in memory.items() if not torch.equal(value, before[key])}
    assert bool(changed) == name.startswith("crd")


def test_kd_of_a_classifier_reads_the_embedding_and_of_a_segmenter_the_pixels() -> None:
    for shapes, function in ((CLASSIFIER, D.kd), (SHAPES, D.pixel_kd)):
        term = build_terms("kd", shapes, CONFIG)["kd"]
        student, teacher = term.projector(outputs(3), targets(3, shapes))
        assert student.shape == teacher.shape == (3, *shapes.teacher_logits)
        torch.testing.assert_close(
            term.loss((student, teacher), Context(torch.arange(3), None)),
            function(student, teacher, temperature=1.0),
        )


def test_attention_pairs_maps_of_the_same_resolution() -> None:
    depth_cnn = ((32, 48, 64), (64, 24, 32), (128, 12, 16), (256, 12, 16), (256, 12, 16))
    resnet = ((1, 24, 32), (1, 12, 16), (1, 6, 8), (1, 3, 4))
    assert pair_by_resolution(depth_cnn, resnet) == [(1, 0), (4, 3)]
    assert pair_by_resolution(depth_cnn, (*resnet, (1, 12, 16))) == [(1, 0), (4, 4)]


class Fixed(nn.Module):
    """A network whose outputs are given."""

    def __init__(self, fixed: Outputs) -> None:
        super().__init__()
        self.fixed = fixed

    def forward(self, view: Tensor) -> Outputs:
        return self.fixed


def test_attention_targets_carry_the_attention_of_the_whole_map() -> None:
    maps = (torch.randn(2, 3, 8, 8), torch.randn(2, 5, 8, 8), torch.randn(2, 7, 4, 4))
    named = TeacherTargets(Fixed(Outputs(torch.randn(2, 4), maps, torch.randn(2, 7))), grid=4, fused=True)(
        maps[0]
    )
    student = torch.randn(2, 6, 8, 8), torch.randn(2, 6, 4, 4)
    torch.testing.assert_close(
        D.attention(student, (named["attention0"], named["attention1"])), D.attention(student, maps[1:])
    )
    assert named["map"] is maps[-1]


def test_hypercolumn_stacks_the_maps_from_the_students_grid_down() -> None:
    maps = (torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4), torch.randn(2, 7, 2, 2))
    column = TeacherTargets(Fixed(Outputs(torch.randn(2, 4), maps, torch.randn(2, 7))), grid=4, fused=False)(
        maps[0]
    )["map"]
    assert column.shape == (2, 12, 4, 4)
    assert torch.equal(column[:, :5], maps[1])
    torch.testing.assert_close(column[:, 5:, 0, 0], maps[2][:, :, 0, 0])
