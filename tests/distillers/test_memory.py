"""The memory of a method, known from the numbers alone, against the buffers of the term that is built."""

from itertools import product
from typing import Any

import pytest
import torch

from crdkit.common import UserError
from crdkit.contrast import ContrastConfig
from crdkit.distillers import BatchMeta, DataSize, FeatureSpec, build_terms, parse_method
from crdkit.models import Dimensions, Outputs

SIZE = Dimensions(maps=((4, 8, 8), (6, 4, 4)), embedding=6, logits=(3,))


def sized(num_samples: int, ids: str) -> tuple[FeatureSpec, DataSize]:
    known = torch.arange(num_samples) % 3
    spec = FeatureSpec(
        SIZE,
        SIZE,
        num_samples,
        labels=known if "labels" in ids else None,
        groups=known if "groups" in ids else None,
    )
    return spec, DataSize(num_samples, 16, "labels" in ids, "groups" in ids)


CASES: list[tuple[str, dict[str, Any], int, str]] = [
    ("crd", {}, 576, "labels"),
    ("crd", {}, 16383, ""),
    ("crd", {}, 16384, "labels"),
    ("crd", {}, 16384, ""),
    ("crd", {}, 16384, "groups"),
    ("crd", {"embed_dim": 16, "num_negatives": 32}, 576, "labels"),
    ("crd", {"objective": "relational", "memory_dtype": "bfloat16"}, 576, "labels"),
    ("crd", {"objective": "infonce", "negatives": "all"}, 100, "groups"),
    ("crd", {"negatives": "shared_other_class"}, 100, "labels groups"),
    ("crd", {"negatives": "shared", "bank": "host", "num_negatives": 64}, 100, "labels"),
    ("crd", {"negatives": "queue", "num_negatives": 32}, 100, "groups"),
    ("crd", {"negatives": "queue", "num_negatives": 32, "objective": "relational"}, 100, ""),
    ("crd-dense", {}, 576, ""),
    ("crd-dense", {"objective": "relational", "queue_size": 10, "embed_dim": 8}, 576, "groups"),
    ("crd-local", {}, 576, "groups"),
    ("crd-local", {"queue_size": 7, "objective": "infonce"}, 576, ""),
    ("kd", {}, 576, "labels"),
]


@pytest.mark.parametrize(("name", "settings", "num_samples", "ids"), CASES)
@pytest.mark.parametrize(("teachers", "share"), [(1, False), (3, False), (3, True)])
def test_estimate_is_what_the_built_term_stores(
    name: str, settings: dict[str, Any], num_samples: int, ids: str, teachers: int, share: bool
) -> None:
    spec, size = sized(num_samples, ids)
    method = parse_method(name, {name: settings})
    term = build_terms(method, [spec] * teachers, share_student=share)[name]
    (part,) = method.parts
    estimate = part.estimate(size)
    stored = sum(buffer.nbytes for buffer in term.objective.buffers())
    assert estimate.state_bytes(teachers, share_student=share) == stored
    assert term.memory_bytes(16) == stored + teachers * estimate.batch


def test_small_sets_have_no_bank() -> None:
    """The rule of the defaults stands in one place: in-batch negatives below 16,384 samples."""
    for num_samples, has_bank in ((576, False), (16383, False), (16384, True)):
        estimate = parse_method("crd").parts[0].estimate(DataSize(num_samples, 64, has_labels=True))
        assert bool(estimate.state_what) == has_bank and (estimate.state > 1000) == has_bank


def test_the_default_depends_on_what_is_known() -> None:
    large = ContrastConfig(num_negatives=8)
    found = {
        (classes, groups, objective): ContrastConfig(objective=objective)
        .resolve(20_000, has_groups=groups, prefer_other_class=classes)
        .negatives
        for classes, groups, objective in product((True, False), (True, False), (None, "relational"))
    }
    assert found[True, True, None] == found[True, False, None] == "other_class"
    assert found[False, True, None] == found[True, True, "relational"] == "other_group"
    assert found[False, False, None] == found[True, False, "relational"] == "uniform"
    resolved = large.resolve(100, has_groups=False)
    assert resolved.resolve(100, has_groups=True) == resolved


@pytest.mark.parametrize(("field", "value"), [("temperature", 0.0), ("bank", "disk"), ("momentum", 1.0)])
def test_a_field_that_is_not_permitted_is_named(field: str, value: object) -> None:
    with pytest.raises(UserError, match=f"{field} must be .*{value}"):
        ContrastConfig(**{field: value})


@pytest.mark.parametrize(("name", "uses_all"), [("kd", True), ("mlkd", True), ("crd", False), ("rkd", False)])
def test_terms_that_compare_logits_reach_every_layer(name: str, uses_all: bool) -> None:
    """`uses_all_layers` against the gradients of a student whose classifier is its last layer."""
    spec, _ = sized(20, "labels")
    term = build_terms(parse_method(name), [spec])[name]
    body, classifier = torch.nn.Linear(5, 6), torch.nn.Linear(6, 3)
    embedding = body(torch.randn(4, 5))
    student = Outputs(classifier(embedding), (), embedding)
    teacher = Outputs(torch.randn(4, 3), (), torch.randn(4, 6))
    projected = term.projector(student, (teacher,))
    term.loss(projected, BatchMeta(torch.arange(4), None)).backward()
    assert body.weight.grad is not None
    assert term.uses_all_layers == uses_all == (classifier.weight.grad is not None)
    assert not term.pretrains
