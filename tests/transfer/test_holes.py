"""Where the student's modality has no reading, no transfer term trains its maps."""

import torch
from torch import nn

from crdkit.data import AugmentConfig, PairedAugment, PairedTensors, Statistics, readings
from crdkit.distillers import build_terms, parse_method
from crdkit.models import DepthCNN, Outputs
from crdkit.transfer import Inputs, Teacher, TeacherTargets, TransferData, TransferTask, make_spec
from crdkit.transfer.targets import no_targets
from crdkit.transfer.task import only_readings

STATISTICS = Statistics(mean={"rgb": (0.5,) * 3, "depth": (2.0,)}, std={"rgb": (1.0,) * 3, "depth": (1.0,)})


def test_maps_keep_their_values_and_lose_the_gradient_of_empty_cells() -> None:
    maps = tuple(torch.rand(2, 3, n, n, requires_grad=True) for n in (8, 4))
    image = torch.ones(2, 1, 8, 8)
    image[0, :, :2, :4] = 0  # a row of two cells of the 4 × 4 map, and 8 of its own
    image[1, 0, 0, 0] = 0  # one pixel: no cell of 4 × 4 is empty
    outputs = Outputs(None, maps, torch.zeros(2, 3))
    seen = only_readings(outputs, readings("depth", image))
    for m, kept in zip(maps, seen.maps, strict=True):
        assert torch.equal(m, kept)
    sum(m.sum() for m in seen.maps).backward()
    fine, coarse = (m.grad for m in maps)
    assert torch.equal(fine, (image > 0).float().expand(-1, 3, -1, -1))
    expected = torch.ones(2, 3, 4, 4)
    expected[0, :, 0, :2] = 0
    assert torch.equal(coarse, expected)
    assert only_readings(outputs, None) is outputs


def gradient(depth: torch.Tensor, method: str) -> list[torch.Tensor]:
    torch.manual_seed(0)
    pairs = PairedTensors(rgb=torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), depth=depth)
    student = DepthCNN(1, widths=(4, 8), strides=(4, 2))
    teacher = Teacher(DepthCNN(3, widths=(4, 8), strides=(4, 2)))
    data = TransferData(pairs, nn.Identity(), "depth", STATISTICS, (32, 32))
    terms = build_terms(parse_method(method, {"fitnet": {"hint": -1}}), [make_spec(student, teacher, data)])
    targets = TeacherTargets([teacher])
    task = TransferTask(student, terms, Inputs(targets, "depth", frozen=(targets,)))
    found, _ = task.terms(task.module.eval(), pairs.__getitems__(range(4)))
    sum(found.values()).backward()
    return [p.grad for p in student.parameters() if p.grad is not None]


def test_an_image_without_readings_trains_nothing() -> None:
    torch.manual_seed(1)
    whole = torch.rand(4, 1, 32, 32) + 1
    for method in ("fitnet", "crd-dense"):
        assert any(g.abs().max() > 0 for g in gradient(whole, method))
        assert all(not g.any() for g in gradient(torch.zeros_like(whole), method))


def test_readings_that_the_augmentation_takes_away_still_count() -> None:
    gone = PairedAugment(AugmentConfig(**{**vars(AugmentConfig.none()), "depth_dropout": 0.5}))
    depth = torch.ones(2, 1, 32, 32)
    depth[0, 0, :8] = 0
    images, _, meta = Inputs(no_targets, "depth", disturb=gone)({"index": torch.arange(2), "depth": depth})
    assert 0.2 < float((images > 0).float().mean()) < 0.7
    assert meta.readings is not None and torch.equal(meta.readings, depth > 0)
