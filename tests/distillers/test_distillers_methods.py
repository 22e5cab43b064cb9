"""Methods by name: what they are called, their settings, and the weights of a sum."""

import pytest

from crdkit.distillers import METHODS, build_terms, parse_method, parse_settings, settings_of


def test_a_method_is_a_sum() -> None:
    assert parse_method("none") == {}
    assert parse_method("crd+0.5*kd") == {"crd": 1.0, "kd": 0.5}
    assert parse_method("wttm+crd") == {"wttm": 1.0, "crd": 1.0}
    assert parse_method("crd-dense+kd-mean") == {"crd-dense": 1.0, "kd-mean": 1.0}


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


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_has_a_type_and_a_published_value(name: str) -> None:
    settings = settings_of(METHODS[name])
    assert "weight" in settings
    for setting in settings.values():
        plain = (float, int, bool, str, float | None, int | None, str | None, bool | str)
        assert setting.annotation in plain, setting
        assert setting.default is not setting.empty
        assert setting.default is None or isinstance(setting.default, setting.annotation), setting


def test_weights_alone_and_in_a_sum(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    alone = build_terms("kd", [spec])["kd"]
    assert (alone.weight, alone.task_weight) == (0.9, 0.1)
    assert build_terms("0.5*kd", [spec])["kd"].weight == 0.45
    both = build_terms("crd+kd", [spec])
    assert {name: (term.weight, term.task_weight) for name, term in both.items()} == {
        "crd": (0.8, 1.0),
        "kd": (1.0, 1.0),
    }
    assert build_terms("crd+0.5*kd", [spec])["kd"].weight == 0.5
    given = build_terms("crd+kd", [spec], {"kd": {"weight": 0.9, "temperature": None}})
    assert given["kd"].weight == 0.9
    published = build_terms("wttm+crd", [spec])  # the authors' 1/4/0.8
    assert {name: (term.weight, term.task_weight) for name, term in published.items()} == {
        "wttm": (4.0, 1.0),
        "crd": (0.8, 1.0),
    }
    published = build_terms("srd+kd", [spec], {"kd": {"temperature": 1.0}})  # the authors' 1/2/1 of ImageNet
    assert [published["srd"].weight, published["kd"].weight, published["kd"].task_weight] == [2.0, 1.0, 1.0]
    assert build_terms("none", [spec]) == {}


def test_settings_reach_the_terms(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56")
    settings = {"crd": {"embed_dim": 16, "num_negatives": 4, "weight": 1}, "kd": {"temperature": 2.0}}
    terms = build_terms("crd", [spec], settings)
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
        build_terms("kd", [zoo.spec("resnet20", "resnet56")], settings)


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
    with pytest.warns(DeprecationWarning, match=r"ft\.fraction"):
        assert parse_settings(["ft.rate=0.25"]) == {"ft": {"fraction": 0.25}}
