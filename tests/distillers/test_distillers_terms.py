"""Every method on every spec of the published benchmark: what it reads, trains and refuses."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from crdkit.contrast import ContrastConfig
from crdkit.distillers import METHODS, BatchMeta, FeatureSpec, Term, build_terms, parse_method
from crdkit.distillers.functional import attention
from crdkit.models import Dimensions, Outputs

# Student and teacher; resnet56→20, 110→20 and 110→32 have the same shapes.
PAIRS = [
    ("wrn_16_2", "wrn_40_2"),
    ("wrn_40_1", "wrn_40_2"),
    ("resnet20", "resnet56"),
    ("resnet20", "resnet110"),
    ("resnet32", "resnet110"),
    ("resnet8x4", "resnet32x4"),
    ("vgg8", "vgg13"),
    ("MobileNetV2", "vgg13"),
    ("MobileNetV2", "ResNet50"),
    ("vgg8", "ResNet50"),
    ("ShuffleV1", "resnet32x4"),
    ("ShuffleV2", "resnet32x4"),
    ("ShuffleV1", "wrn_40_2"),
]
FSP = [0, 2, 3, 4, 5, 6]
SAME_AS_BEFORE = [3, 4]

READS = {
    **dict.fromkeys(("kd", "dkd", "dist", "wttm", "mlkd"), "logits"),
    "fitnet": "maps[2]",
    **dict.fromkeys(("at", "vid", "nst"), "maps[1:]"),
    **dict.fromkeys(("sp", "ft", "simkd"), "maps[-1]"),
    **dict.fromkeys(("cc", "rkd", "pkt", "crd", "itrd", "wcord", "srd", "angle"), "embedding"),
    "crd-dense": "maps[-1]",
    "crd-local": "maps[-1] + embedding",
    "cosine": "maps[-1]",
    "fsp": "maps",
    "ab": "preactivations[1:]",
    "reviewkd": "maps[1:] + embedding",
}
WEIGHTS = {
    "kd": 0.9,
    "fitnet": 100,
    "at": 1000,
    "sp": 3000,
    "cc": 0.02,
    "vid": 1,
    "rkd": 1,
    "pkt": 30000,
    "ab": 0,
    "ft": 200,
    "fsp": 0,
    "nst": 50,
    "crd": 0.8,
    "crd-local": 1,
    "crd-dense": 1,
    "cosine": 10,
    "dkd": 1,
    "dist": 1,
    "simkd": 1,
    "reviewkd": 5,
    "wttm": 4,
    "itrd": 1,
    "wcord": 1,
    "srd": 2,
    "mlkd": 0.9,
    "angle": 1,
}


def named(outputs: Outputs) -> dict[str, torch.Tensor]:
    """The tensors of outputs by the words of READS."""
    return {
        "logits": outputs.logits,
        "embedding": outputs.embedding,
        **{f"maps[{i}]": x for i, x in enumerate(outputs.maps)},
        **{f"preactivations[{i}]": x for i, x in enumerate(outputs.preactivations)},
    }


def read_names(method: str, count: int) -> set[str]:
    names = {
        "maps": {f"maps[{i}]" for i in range(count)},
        "maps[1:]": {f"maps[{i}]" for i in range(1, count)},
        "maps[-1]": {f"maps[{count - 1}]"},
        "preactivations[1:]": {f"preactivations[{i}]" for i in range(1, count)},
    }
    return set().union(*(names.get(part, {part}) for part in READS[method].split(" + ")))


def test_the_published_weights(zoo) -> None:
    for name, weight in WEIGHTS.items():
        term = METHODS[name](zoo.spec("resnet20", "resnet56"))
        assert term.weight == weight, name
        assert term.task_weight == {"kd": 0.1, "mlkd": 0.1, "simkd": 0}.get(name, 1), name
        assert term.warmup_epochs == (20 if name in ("dkd", "reviewkd") else 0), name
        assert (term.pretrain is not None) == (name in ("ab", "ft", "fsp")), name
        assert (term.deploy is not None) == (name == "simkd"), name
    assert set(WEIGHTS) == set(METHODS) == set(READS)


@pytest.mark.parametrize("number", [n for n in range(len(PAIRS)) if n not in SAME_AS_BEFORE])
@pytest.mark.parametrize("method", METHODS)
def test_one_step_of_every_method_on_every_pair(method: str, number: int, zoo) -> None:
    spec = zoo.spec(*PAIRS[number])
    settings = {
        "crd": {"num_negatives": 8, "embed_dim": 16},
        "crd-local": {"embed_dim": 16},
        "crd-dense": {"embed_dim": 16},
    }
    if method == "fsp" and number not in FSP:
        with pytest.raises(ValueError, match=r"\d+x\d+x\d+"):
            build_terms(parse_method(method), [spec])
        return
    term = build_terms(parse_method(method, settings), [spec])[method]
    student, teacher = zoo.outputs(spec.student, grad=True), zoo.outputs(spec.teacher)
    meta = BatchMeta(index=torch.tensor([3, 1, 7, 12]), label=torch.tensor([0, 2, 2, 5]))
    projected = term.projector(student, (teacher,))
    loss = term.loss(projected, meta)
    assert loss.shape == () and loss.dtype == torch.float32 and torch.isfinite(loss)
    loss.backward()
    reached = {name for name, x in named(student).items() if x.grad is not None and x.grad.any()}
    assert reached == read_names(method, len(spec.student.maps))
    frozen = "each.0.encoder." if method == "ft" else "nothing"
    for name, weight in term.projector.named_parameters():
        assert (weight.grad is None) == name.startswith(frozen), name
    assert not list(term.objective.parameters())
    term.update(term.to_remember(projected), meta.index)


def state(term: Term) -> dict[str, torch.Tensor]:
    return {key: x.clone() for key, x in term.objective.state_dict().items()}


def test_crd_remembers_the_rows_of_the_batch(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    term = METHODS["crd"](spec, config=ContrastConfig(num_negatives=8))
    meta = BatchMeta(torch.tensor([3, 1, 7, 12]), None)
    projected = term.projector(zoo.outputs(spec.student), zoo.outputs(spec.teacher))
    term.loss(projected, meta)
    before = state(term)
    term.update(term.to_remember(projected), meta.index)
    for side in ("student", "teacher"):
        key = f"contrast.bank_{side}.rows"
        changed = (state(term)[key] != before[key]).any(dim=1).nonzero().flatten()
        assert changed.tolist() == [1, 3, 7, 12]


def negatives_of(spec: FeatureSpec, **settings: Any) -> str:
    return METHODS["crd"](spec, config=ContrastConfig(**settings)).objective.contrast.config.negatives


def test_crd_takes_negatives_of_other_classes_where_there_are_labels(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    assert negatives_of(spec, objective="nce") == "other_class"
    assert negatives_of(spec._replace(labels=None), objective="nce") == "uniform"
    assert negatives_of(spec, negatives="all") == "all"


def test_the_critic_of_wcord_is_lipschitz_in_any_precision(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet8x4")
    heads = METHODS["wcord"](spec).projector
    student, teacher = zoo.outputs(spec.student, batch=9), zoo.outputs(spec.teacher, batch=9)
    for _ in range(100):  # an iteration of the spectral norm each
        ours, theirs = heads(student, teacher)
    for head, vectors in ((heads.student, ours), (heads.teacher, theirs)):
        assert torch.linalg.matrix_norm(head.weight, 2).item() == pytest.approx(1, abs=1e-3)
        assert vectors.shape == (9, 128) and vectors.norm(dim=1).max() <= 1.001
    heads.eval()
    expected = heads(student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(heads(student, teacher), expected)


def test_what_cannot_run_is_refused_with_the_shapes(zoo) -> None:
    fewer, more = zoo.spec("resnet20", "vgg13"), zoo.spec("resnet20", "resnet56")
    for method in ("ab", "reviewkd"):
        with pytest.raises(ValueError, match=rf"{method}.*4.*5\..*16x32"):
            METHODS[method](fewer)
    with pytest.raises(ValueError, match=r"fitnet.*7"):
        METHODS["fitnet"](more, hint=7)
    bare = more._replace(student=Dimensions((), 64, (10,)))
    for method in ("sp", "ft", "simkd", "at", "vid", "nst", "fsp"):
        with pytest.raises(ValueError, match=rf"{method}.*64"):
            METHODS[method](bare)
    other = more._replace(student=Dimensions(more.student.maps, 64, (7,)))
    blind = more._replace(teacher=Dimensions(more.teacher.maps, 64, None))
    for method in ("kd", "dkd", "dist", "wttm", "mlkd"):
        for spec, wanted in (
            (other, "(7,) and a teacher with (10,)"),
            (blind, "(10,) and a teacher with None"),
        ):
            with pytest.raises(ValueError, match=re.escape(f"got a student with {wanted}")):
                METHODS[method](spec)
    with pytest.raises(ValueError, match="classifier"):
        METHODS["simkd"](more._replace(teacher_classifier=None))
    with pytest.raises(ValueError, match=r"1280.*160"):
        METHODS["simkd"](zoo.spec("resnet20", "MobileNetV2"))


def test_lists_of_different_length_are_paired_from_the_first_stage_on(zoo) -> None:
    spec = zoo.spec("resnet8x4", "vgg13")
    student, teacher = zoo.outputs(spec.student), zoo.outputs(spec.teacher)
    meta = BatchMeta(torch.arange(4), None)
    for method in ("at", "nst", "vid"):
        term = METHODS[method](spec)
        whole = term.loss(term.projector(student, teacher), meta)
        cut = teacher._replace(maps=teacher.maps[:4])
        torch.testing.assert_close(term.loss(term.projector(student, cut), meta), whole)


def test_attention_by_resolution_pools_the_teachers_attention_not_its_features(zoo) -> None:
    spec = zoo.spec("vgg8", "resnet56")  # the last maps are 4 x 4 and 8 x 8
    student, teacher = zoo.outputs(spec.student), zoo.outputs(spec.teacher)
    term = METHODS["at"](spec, pairing="resolution")
    loss = term.loss(term.projector(student, teacher), BatchMeta(torch.arange(4), None))
    pairs = [(0, 1), (1, 2), (2, 3), (5 - 1, 3)]
    maps = [x.square().mean(1, keepdim=True).sqrt() for x in teacher.maps]
    expected = attention([student.maps[i] for i, _ in pairs], [maps[i] for _, i in pairs])
    torch.testing.assert_close(loss, expected)
    plain = attention([student.maps[i] for i, _ in pairs], [teacher.maps[i] for _, i in pairs])
    assert abs(float(loss - plain)) > 1e-3


def test_bad_settings_are_named_at_construction(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    for method, settings, message in [
        ("kd", {"temperature": 0.0}, "temperature must be positive, got 0"),
        ("dkd", {"temperature": -1.0}, "temperature must be positive, got -1"),
        ("dist", {"temperature": 0.0}, "temperature must be positive, got 0"),
        ("wttm", {"exponent": 0.0}, "exponent must be positive, got 0"),
        ("itrd", {"alpha": 0.0}, "alpha must be positive, got 0"),
        ("wcord", {"embed_dim": 0}, "embed_dim must be at least 1, got 0"),
        ("wcord", {"epsilon": 0.0}, "epsilon must be positive, got 0"),
        ("srd", {"exponent": 0.5}, "exponent must be at least 1, got 0.5"),
        ("kd", {"weight": float("nan")}, r"kd\.weight must be at least 0, got nan"),
        ("at", {"weight": -1.0}, r"at\.weight must be at least 0, got -1"),
        ("dkd", {"warmup_epochs": -1.0}, r"dkd\.warmup_epochs must be at least 0, got -1"),
        ("cc", {"embed_dim": 0}, "embed_dim must be at least 1, got 0"),
        ("vid", {"initial_variance": 0.0}, "initial_variance must be positive, got 0"),
        ("ab", {"margin": 0.0}, "margin must be positive, got 0"),
        ("ab", {"epochs": -1}, "epochs must be at least 0, got -1"),
        ("ft", {"fraction": 0.001}, "fraction must leave at least one of 64 channels, got 0.001"),
        ("ft", {"paraphraser_lr": 0.0}, "lr must be positive, got 0"),
        ("crd", {"negatives": "most"}, "negatives must be one of .*, got 'most'"),
        ("simkd", {"reduction": 0}, "reduction must be at least 1, got 0"),
        ("simkd", {"reduction": 65}, "reduction must be 1 to the teacher's 64 channels, got 65"),
        ("reviewkd", {"max_width": 0}, "max_width must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            build_terms(parse_method(method, {method: settings}), [spec])


def test_data_without_labels_or_networks_without_preactivations(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    with pytest.raises(ValueError, match="dkd"):
        METHODS["dkd"](spec._replace(labels=None))
    for side in ("student", "teacher"):
        blind = getattr(spec, side)._replace(preactivations=0)
        with pytest.raises(ValueError, match=f"{side}"):
            METHODS["ab"](spec._replace(**{side: blind}))


def test_standardization_brings_its_own_temperature_and_weight(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    student, teacher = zoo.outputs(spec.student), zoo.outputs(spec.teacher)
    meta = BatchMeta(torch.arange(4), torch.tensor([0, 1, 2, 3]))
    for name in ("kd", "dkd"):
        term = METHODS[name](spec, standardize=True)
        assert term.weight == 9
        same = METHODS[name](spec, standardize=True, temperature=2.0)
        plain = METHODS[name](spec, temperature=2.0)
        values = [t.loss(t.projector(student, teacher), meta) for t in (term, same, plain)]
        assert values[0] == values[1] != values[2]
        assert METHODS[name](spec, standardize=True, weight=3.0).weight == 3


def test_the_pure_functions_have_one_place() -> None:
    import crdkit.distillers as room
    from crdkit.distillers import functional

    files = {path.stem for path in Path(room.__file__).parent.glob("*.py")}
    assert {"kd", "rkd", "factor"} <= files & set(vars(functional))
    for name in files & set(vars(functional)):
        assert inspect.isfunction(getattr(functional, name)), name


@pytest.mark.parametrize("method", ["crd", "crd-local", "crd-dense"])
def test_relational_contrast_trains_the_students_side_alone(method: str, zoo) -> None:
    spec = zoo.spec("resnet8x4", "vgg13")
    settings = {method: {"objective": "relational", "embed_dim": 16, "teacher_temperature": 0.1}}
    term = build_terms(parse_method(method, settings), [spec, spec], share_student=True)[method]
    student, teacher = zoo.outputs(spec.student, grad=True), zoo.outputs(spec.teacher)
    meta = BatchMeta(torch.tensor([3, 1, 7, 12]), None)
    projected = term.projector(student, (teacher, teacher))
    term.loss(projected, meta).backward()
    reached = {name for name, x in named(student).items() if x.grad is not None and x.grad.any()}
    assert reached == read_names(method, len(spec.student.maps))
    for name, weight in term.projector.named_parameters():
        assert weight.requires_grad == (weight.grad is not None) == (".teacher." not in name), name
    term.update(term.to_remember(projected), meta.index)


def test_relational_contrast_takes_its_own_class_too(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    assert (
        METHODS["crd"](
            spec, config=ContrastConfig(objective="relational")
        ).objective.contrast.config.negatives
        == "uniform"
    )
    groups = spec._replace(groups=torch.arange(20) % 4)
    assert (
        METHODS["crd"](
            groups, config=ContrastConfig(objective="relational")
        ).objective.contrast.config.negatives
        == "other_group"
    )
