"""Settings of a command line: their ranges come from the makers' signatures."""

import pytest
import torch
from torch.nn import functional

from crdkit.contrast import ContrastConfig, InstanceContrast
from crdkit.distillers import METHODS, parse_method, parse_methods, parse_settings, without_effect


def test_a_value_that_no_maker_takes_is_refused_with_its_name() -> None:
    refused = {
        "crd.temperature=0": "crd.temperature must be positive, got 0",
        "crd.temperature=.nan": "crd.temperature must be positive, got nan",
        "crd.momentum=1": r"crd.momentum must be in \[0, 1\), got 1",
        "crd.num_negatives=0": "crd.num_negatives must be at least 1, got 0",
        "crd.negatives=others": "must be one of uniform, .*, got 'others'",
        "crd.objective=mse": "must be one of nce, infonce, relational, none, got 'mse'",
        "crd.embed_dim=1.5": "crd.embed_dim must be int, got 1.5",
        "crd.embed_dim=none": "crd.embed_dim must be int, got None",
        "kd.standardize=1": "kd.standardize must be bool, got 1",
        "kd.standardize=phi-s": "kd.standardize must be bool, got 'phi-s'",
        "crd.standardize=1": "crd.standardize must be bool or phi-s, got 1",
        "crd.standardize=phi": "crd.standardize must be bool or phi-s, got 'phi'",
        "kd.weight=-1": "kd.weight must be at least 0, got -1",
        "rkd.angle_weight=.inf": "rkd.angle_weight must be finite, got inf",
        "kd.temprature=2": "kd has no setting 'temprature': did you mean temperature",
        "kdd.temperature=2": "unknown method 'kdd': did you mean kd",
        "kd.temperature": "METHOD.NAME=VALUE",
    }
    for setting, message in refused.items():
        with pytest.raises(ValueError, match=message):
            parse_methods((), (setting,))
    parse_methods(("none", "crd+0.5*kd"), ("kd.temperature=2", "crd.num_negatives=none"))
    parse_methods((), ("fitnet.standardize=true", "vid.standardize=false", "cosine.standardize=phi-s"))
    with pytest.raises(ValueError, match="unknown method 'crdd' in 'kd\\+crdd': did you mean crd"):
        parse_methods(("kd+crdd",), ())


def test_a_method_of_ones_own_is_known_by_its_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_mine(spec: object, *, weight: float = 1.0, levels: int | None = None) -> object:
        return spec

    monkeypatch.setitem(METHODS, "mine", make_mine)
    parse_method("mine", {"mine": {"weight": 2, "levels": None}})
    with pytest.raises(ValueError, match=r"mine\.levels must be int or none, got 1\.5"):
        parse_method("mine", {"mine": {"levels": 1.5}})


@pytest.mark.parametrize(
    ("methods", "typed", "others", "said"),
    [
        (
            ("none", "crd"),
            ("kd.temperature=2",),
            (),
            ["kd.temperature has no effect: kd is none of the methods"],
        ),
        (("0.5*kd+crd",), ("kd.temperature=2",), (), []),
        (
            ("crd",),
            ("crd.num_negatives=77",),
            ("crd.negatives=batch",),
            ["crd.num_negatives has no effect while crd.negatives is batch"],
        ),
        (("crd",), ("crd.negatives=batch",), ("crd.num_negatives=77",), []),
        (
            ("crd",),
            ("crd.negatives=queue", "crd.num_negatives=77", "crd.momentum=0.9"),
            (),
            ["crd.momentum has no effect while crd.negatives is queue"],
        ),
        (("crd",), ("crd.negatives=shared", "crd.num_negatives=77", "crd.momentum=0.9"), (), []),
        (
            ("crd-dense",),
            ("crd-dense.teacher_temperature=0.1",),
            (),
            ["crd-dense.teacher_temperature has no effect while crd-dense.objective is nce"],
        ),
        (("crd-dense",), ("crd-dense.teacher_temperature=0.1",), ("crd-dense.objective=relational",), []),
    ],
)
def test_a_setting_that_is_not_read_is_told(
    methods: tuple[str, ...], typed: tuple[str, ...], others: tuple[str, ...], said: list[str]
) -> None:
    assert without_effect(methods, typed, (*others, *typed)) == said


def test_what_is_said_to_have_no_effect_has_none() -> None:
    """The same terms with and without it, for what `without_effect` says of the contrast's settings."""
    index = torch.arange(8)
    z_s, z_t = (functional.normalize(torch.randn(8, 4), dim=1) for _ in "st")
    decided = {
        "negatives=batch": ("num_negatives=9", "momentum=0.9", "memory_dtype=bfloat16"),
        "negatives=queue": ("momentum=0.9", "memory_dtype=bfloat16"),
        "objective=infonce": ("teacher_temperature=0.3",),
        "objective=nce": ("teacher_temperature=0.3",),
    }
    for deciding, idle in decided.items():
        found = []
        for setting in ("", *idle):
            words = [f"crd.{word}" for word in (deciding, setting) if word]
            assert len(without_effect(("crd",), words, words)) == len(words) - 1
            torch.manual_seed(0)
            contrast = InstanceContrast(40, ContrastConfig(4, **parse_settings(words)["crd"]))
            losses = []
            for _ in range(2):
                losses.append(float(contrast(z_s, z_t, index)))
                contrast.update(index, z_s, z_t)
            found.append(losses)
        assert all(losses == found[0] for losses in found), deciding
