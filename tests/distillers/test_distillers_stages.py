"""What comes before a distillation and after it: initializations, and the network that SimKD leaves."""

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crdkit.distillers import (
    METHODS,
    BatchMeta,
    Connectors,
    FeatureSpec,
    Fusion,
    Paraphraser,
    Translator,
)
from crdkit.distillers import functional as D
from crdkit.models import Outputs, ReusedClassifier, measure


class Tiny(nn.Module):
    """Three maps with their preactivations, and a classifier of the last one's average."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.classifier = nn.Linear(widths[-1], 5)

    def forward(self, images: Tensor) -> Outputs:
        before = [self.stem(images)]
        for stage in self.stages:
            before.append(stage(F.relu(before[-1])))
        maps = tuple(F.relu(x) for x in before)
        embedding = maps[-1].mean(dim=(2, 3))
        return Outputs(self.classifier(embedding), maps, embedding, tuple(before))


def networks(*teacher_widths: int) -> tuple[Tiny, Tiny, FeatureSpec]:
    student, teacher = Tiny(4, 6, 8), Tiny(*teacher_widths).requires_grad_(False)
    sizes = [measure(network, (3, 16, 16)) for network in (student, teacher)]
    return student, teacher, FeatureSpec(*sizes, num_samples=8, teacher_classifier=teacher.classifier)


@pytest.mark.parametrize(("method", "widths"), [("ab", (5, 7, 9)), ("ab", (4, 6, 8)), ("fsp", (4, 6, 8))])
def test_an_initialization_of_the_student_lowers_its_loss(method: str, widths: tuple[int, ...]) -> None:
    student, teacher, spec = networks(*widths)
    term = METHODS[method](spec, epochs=7)
    assert term.pretrain is not None and term.pretrain.epochs == 7 and term.pretrain.trains_student
    assert term.pretrain.projector is term.projector and term.weight == 0
    before = copy.deepcopy(student.state_dict())
    images, meta = torch.randn(8, 3, 16, 16), BatchMeta(torch.arange(8), None)
    trained = [*student.parameters(), *term.pretrain.projector.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        projected = term.pretrain.projector(student(images), teacher(images))
        loss = term.pretrain.objective(*projected, meta=meta)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    term.pretrain.finish()
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.requires_grad for p in term.projector.parameters())
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("classifier"), name


def test_connectors_leave_equal_shapes_alone() -> None:
    connectors = Connectors([((4, 8, 8), (4, 8, 8)), ((4, 8, 8), (6, 4, 4))]).connectors
    assert isinstance(connectors[0], nn.Identity)
    assert connectors[1](torch.randn(3, 4, 8, 8)).min() < 0  # no ReLU


def test_the_paraphraser_trains_alone_and_is_then_frozen() -> None:
    student, teacher, spec = networks(5, 7, 10)
    term = METHODS["ft"](spec, paraphraser_lr=0.02)
    first = term.pretrain
    assert first is not None and not first.trains_student and first.lr == 0.02
    assert isinstance(first.projector, Paraphraser) and first.epochs == 30
    images, meta = torch.randn(8, 3, 16, 16), BatchMeta(torch.arange(8), None)
    optimizer = torch.optim.SGD(first.projector.parameters(), lr=0.2, momentum=0.9)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = first.objective(*first.projector(student(images), teacher(images)), meta=meta)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is None for p in student.parameters())

    first.finish()
    kept = copy.deepcopy(first.projector.state_dict())
    assert not any(p.requires_grad for p in first.projector.parameters())
    trained = [p for p in term.projector.parameters() if p.requires_grad]
    assert len(trained) == len(list(term.projector.translator.parameters()))
    factor_s, factor_t = term.projector(student(images), teacher(images))
    assert factor_s.shape == factor_t.shape == (8, 5, 4, 4)
    torch.testing.assert_close(factor_t, first.projector.encoder(teacher(images).maps[-1]))
    term.loss((factor_s, factor_t), meta).backward()
    torch.optim.SGD(term.projector.parameters(), lr=0.2, weight_decay=0.1).step()
    for name, value in first.projector.state_dict().items():
        assert torch.equal(value, kept[name]), name


def test_published_shape_of_paraphraser_and_translator() -> None:
    paraphraser, translator = Paraphraser(8, 4), Translator(6, 4)
    kernels = [tuple(p.shape) for p in paraphraser.parameters() if p.dim() == 4]
    assert kernels == [(8, 8, 3, 3), (4, 8, 3, 3), (4, 4, 3, 3), (4, 4, 3, 3), (4, 8, 3, 3), (8, 8, 3, 3)]
    assert not [layer for layer in paraphraser.modules() if isinstance(layer, nn.BatchNorm2d)]
    kernels = [tuple(p.shape) for p in translator.parameters() if p.dim() == 4]
    assert kernels == [(6, 6, 3, 3), (4, 6, 3, 3), (4, 4, 3, 3)]
    assert len([layer for layer in translator.modules() if isinstance(layer, nn.BatchNorm2d)]) == 3


def test_simkd_leaves_a_network_with_the_teachers_classifier() -> None:
    student, teacher, spec = networks(5, 7, 10)
    term = METHODS["simkd"](spec)
    assert term.deploy is not None and term.task_weight == 0
    network = term.deploy(student)
    assert isinstance(network, ReusedClassifier)
    images = torch.randn(6, 3, 16, 16)
    network.eval()
    outputs = network(images)
    projected, target = term.projector(student(images), teacher(images))
    torch.testing.assert_close(outputs.maps[-1], projected)
    assert len(outputs.maps) == 4 and target.shape == projected.shape
    torch.testing.assert_close(outputs.embedding, projected.mean(dim=(2, 3)))
    torch.testing.assert_close(outputs.logits, teacher.classifier(outputs.embedding))
    # perfect projection gives the teacher's own logits
    perfect = teacher.classifier(teacher(images).maps[-1].mean(dim=(2, 3)))
    torch.testing.assert_close(perfect, teacher(images).logits)
    # it follows the training, and is no way to train the classifier
    with torch.no_grad():
        term.projector.transfer[0].weight.mul_(2)
    torch.testing.assert_close(network.projector.transfer[0].weight, term.projector.transfer[0].weight)
    assert not any(p.requires_grad for p in network.classifier.parameters())
    assert teacher.classifier.weight.data_ptr() != network.classifier.weight.data_ptr()


@pytest.mark.parametrize("shapes", [((8, 4, 6), (10, 8, 3)), ((8, 8, 3), (10, 4, 6))])
def test_simkd_pools_the_larger_side(shapes) -> None:
    from crdkit.distillers import SimKDProjector

    projector = SimKDProjector(*shapes)
    assert projector.size == (4, 3)
    student, teacher = (Outputs(None, (torch.randn(2, *shape),), torch.zeros(2, 1)) for shape in shapes)
    projected, target = projector(student, teacher)
    assert projected.shape == target.shape == (2, 10, 4, 3)
    torch.testing.assert_close(target, F.adaptive_avg_pool2d(teacher.maps[-1], (4, 3)))
    widths = [layer.out_channels for layer in projector.transfer if isinstance(layer, nn.Conv2d)]
    assert widths == [5, 5, 10]


def test_a_fusion_mixes_by_its_attention() -> None:
    fusion = Fusion((3, 4, 4), (7, 8, 8), 5).eval()
    assert fusion.attend is not None
    x, residual = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)
    answer, handed_on = fusion(x, residual)
    assert answer.shape == (2, 7, 8, 8) and handed_on.shape == (2, 5, 8, 8)
    narrow, deeper = fusion.narrow(x), residual.repeat_interleave(2, 2).repeat_interleave(2, 3)
    scores = fusion.attend[0](torch.cat([narrow, deeper], 1)).sigmoid()
    mixed = narrow * scores[:, :1] + deeper * scores[:, 1:]
    torch.testing.assert_close(handed_on, mixed.repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(answer, fusion.answer(handed_on))
    alone = Fusion((3, 1, 1), (7, 1, 1), 5, deepest=True).eval()
    torch.testing.assert_close(alone(x[..., :1, :1])[1], alone.narrow(x[..., :1, :1]))


def test_review_goes_from_the_embedding_to_the_first_stage(zoo) -> None:
    spec = zoo.spec("ShuffleV2", "resnet32x4")
    term = METHODS["reviewkd"](spec)
    assert {fuse.narrow[0].out_channels for fuse in term.projector.fusions} == {512}
    student, teacher = zoo.outputs(spec.student, grad=True), zoo.outputs(spec.teacher)
    answers, targets = term.projector(student, teacher)
    assert [a.shape for a in answers] == [t.shape for t in targets]
    assert [t.shape[2] for t in targets] == [32, 16, 8, 1]
    assert all(t is x for t, x in zip(targets, teacher.preactivations[1:], strict=False))
    # the deepest answer knows only the embedding; the shallowest knows everything
    grads = torch.autograd.grad(answers[-1].sum(), [*student.maps[1:], student.embedding], allow_unused=True)
    assert [g is not None for g in grads] == [False, False, False, True]
    loss = term.loss((answers, targets), BatchMeta(torch.arange(4), None))
    torch.testing.assert_close(loss, D.hcl(answers, targets))
    without = spec._replace(teacher=spec.teacher._replace(preactivations=0))
    after = METHODS["reviewkd"](without).projector(student, teacher._replace(preactivations=()))[1]
    assert all(t is x for t, x in zip(after, teacher.maps[1:], strict=False))
