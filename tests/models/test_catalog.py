"""Names of networks without torch, against what the libraries say of themselves."""

import pytest

from crdkit.models import catalog, check_network, known_networks
from crdkit.models.cifar import NETWORKS
from crdkit.models.classifiers import OWN, create


def test_names_are_those_of_the_libraries() -> None:
    import timm
    from timm.models import _registry
    from torchvision import models

    known = known_networks()
    assert known["crdkit"] == tuple(OWN) and tuple(NETWORKS) == catalog.CIFAR
    assert set(known["torchvision"]) == set(models.list_models(module=models))
    assert set(known["timm"]) == set(timm.list_models())
    for former in _registry._deprecated_models:
        check_network(f"timm/{former}")


@pytest.mark.parametrize(
    "name",
    ["resnet8", "depth_cnn", "resnet18", "torchvision/vgg11", "timm/resnet18", "timm/resnet18.a1_in1k"],
)
def test_known_names_pass(name: str) -> None:
    check_network(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet1888", "resnet18"), ("timm/resnet1888", "timm/resnet18"), ("a/resnet8", "resnet8")],
)
def test_a_wrong_name_gets_the_same_answer_as_from_create(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"no network named {name!r}: did you mean .*{near}") as early:
        check_network(name)
    with pytest.raises(ValueError) as late:
        create(name)
    assert str(early.value) == str(late.value)


def test_without_its_sources_a_library_is_left_to_create(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_timm", tuple)
    monkeypatch.setattr(catalog, "_torchvision", tuple)
    check_network("timm/whatever")
    check_network("whatever")
    monkeypatch.setattr(catalog, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install timm"):
        check_network("timm/whatever")
