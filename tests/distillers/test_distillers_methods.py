"""Methods by name: what they are called, their settings, and the weights of a sum."""

import pytest

from crdkit.common import read_settings
from crdkit.distillers import (
    JOINT,
    METHODS,
    FeatureSpec,
    Term,
    build_terms,
    known_methods,
    parse_method,
    parse_settings,
)


def test_a_method_is_a_sum() -> None:
    def factors(text: str) -> dict[str, float]:
        method = parse_method(text)
        assert method.name == text and method.needs_teachers == (text != "none")
        return {part.name: part.factor for part in method.parts}

    assert factors("none") == {}
    assert factors("crd+0.5*kd") == {"crd": 1.0, "kd": 0.5}
    assert factors("wttm+crd") == {"wttm": 1.0, "crd": 1.0}
    assert factors("crd-dense+kd-mean") == {"crd-dense": 1.0, "kd-mean": 1.0}
    parts = parse_method("aekd+crd", {"crd": {"negatives": "all"}}).parts
    assert [part.is_joint for part in parts] == [True, False]
    assert parts[1].settings == {"negatives": "all"} and parts[1].values["embed_dim"] == 128
    assert [part.maker for part in parts] == [JOINT["aekd"], METHODS["crd"]]


def test_a_pretraining_is_known_before_anything_is_built() -> None:
    assert parse_method("ab+kd+ft", {"ft": {"epochs": 4}}).pretraining == {"ab": 30, "ft": 4}
    assert parse_method("ab", {"ab": {"epochs": 0}}).pretraining == {"ab": 0}
    assert not parse_method("crd+dkd").pretraining


def test_a_pretraining_that_is_not_declared_is_an_error(zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_mine(spec: FeatureSpec, *, epochs: int = 3) -> Term:
        return METHODS["fsp"](spec, epochs=epochs)

    monkeypatch.setitem(METHODS, "mine", make_mine)
    with pytest.raises(TypeError, match=r"'mine'.*PretrainEpochs"):
        build_terms(parse_method("mine"), [zoo.spec("resnet20", "resnet20")])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("crt", r"'crt'.*crd"),
        ("kd+fitnets", r"'fitnets'.*fitnet\?"),
        ("zzzzzz", r"'zzzzzz'.*'zzzzzz'"),
        ("none+kd", "unknown method 'none'"),
        ("kd+kd", "'kd' stands twice"),
        ("x*kd", r"'x'.*'x\*kd'"),
        ("-1*kd", "-1"),
        ("inf*kd", "positive"),
    ],
)
def test_bad_methods_are_named(method: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_method(method)


@pytest.mark.parametrize("name", known_methods())
def test_every_setting_has_a_type_and_a_published_value(name: str) -> None:
    settings = read_settings(known_methods()[name])
    assert "weight" in settings
    for setting in settings.values():
        assert set(setting.types) <= {float, int, bool} and (setting.types or setting.choices), setting
        setting.check(setting.default)


def test_weights_alone_and_in_a_sum(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    alone = build_terms(parse_method("kd"), [spec])["kd"]
    assert (alone.weight, alone.task_weight) == (0.9, 0.1)
    assert build_terms(parse_method("0.5*kd"), [spec])["kd"].weight == 0.45
    both = build_terms(parse_method("crd+kd"), [spec])
    assert {name: (term.weight, term.task_weight) for name, term in both.items()} == {
        "crd": (0.8, 1.0),
        "kd": (1.0, 1.0),
    }
    assert build_terms(parse_method("crd+0.5*kd"), [spec])["kd"].weight == 0.5
    given = build_terms(parse_method("crd+kd", {"kd": {"weight": 0.9, "temperature": None}}), [spec])
    assert given["kd"].weight == 0.9
    published = build_terms(parse_method("wttm+crd"), [spec])  # the authors' 1/4/0.8
    assert {name: (term.weight, term.task_weight) for name, term in published.items()} == {
        "wttm": (4.0, 1.0),
        "crd": (0.8, 1.0),
    }
    # the authors' 1/2/1 of ImageNet
    published = build_terms(parse_method("srd+kd", {"kd": {"temperature": 1.0}}), [spec])
    assert [published["srd"].weight, published["kd"].weight, published["kd"].task_weight] == [2.0, 1.0, 1.0]
    assert build_terms(parse_method("none"), [spec]) == {}


def test_settings_reach_the_terms(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    settings = {"crd": {"embed_dim": 16, "num_negatives": 4, "weight": 1}, "kd": {"temperature": 2.0}}
    terms = build_terms(parse_method("crd", settings), [spec])
    assert set(terms) == {"crd"} and terms["crd"].weight == 1
    assert terms["crd"].objective.each[0].contrast.bank_student.rows.shape == (20, 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kd": {"temperatur": 2.0}}, r"kd.*'temperatur'.*temperature"),
        ({"at": {"zzz": 2.0}}, r"at.*'zzz'"),
        ({"crdd": {}}, "'crdd'.*crd"),
        ({"kd": {"temperature": "hot"}}, r"kd.temperature.*'hot'"),
        ({"dkd": {"standardize": 1}}, r"dkd.standardize.*1"),
        ({"ab": {"epochs": 1.5}}, r"ab.epochs.*1.5"),
        ({"crd": {"negatives": 3}}, r"crd.negatives.*3"),
        ({"cc": {"embed_dim": True}}, r"cc.embed_dim"),
    ],
)
def test_bad_settings_are_named(settings, message: str, zoo) -> None:
    with pytest.raises(ValueError, match=message):
        build_terms(parse_method("kd", settings), [zoo.spec("resnet20", "resnet56")])


def test_settings_of_a_command_line_are_read_as_what_they_look_like() -> None:
    given = [
        "kd.temperature=1e-1",
        "kd.standardize=true",
        "crd.negatives=none",
        "crd.embed_dim=64",
        "at.pairing=last",
    ]
    assert parse_settings([*given, "crd.embed_dim=32"]) == {
        "kd": {"temperature": 0.1, "standardize": True},
        "crd": {"negatives": None, "embed_dim": 32},
        "at": {"pairing": "last"},
    }
    for text in ("kd", "kd.temperature", "kd=2", ".temperature=2", "kd.temperature="):
        with pytest.raises(ValueError, match=r"METHOD\.NAME=VALUE"):
            parse_settings([text])
