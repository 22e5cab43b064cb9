"""Groups of a feature specification reach the contrasts."""

import pytest
import torch

from crdkit.contrast import ContrastConfig
from crdkit.distillers import METHODS

GROUPS = torch.arange(20) // 5


def test_crd_takes_other_groups_where_there_are_no_labels(zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56", labels=None, groups=GROUPS)
    contrast = METHODS["crd"](spec, config=ContrastConfig(num_negatives=8)).objective.contrast
    assert contrast.config.negatives == "other_group" and torch.equal(contrast.sampler.samples.ids, GROUPS)
    labels = torch.arange(20) % 10
    with_labels = METHODS["crd"](
        spec._replace(labels=labels), config=ContrastConfig(num_negatives=8)
    ).objective.contrast
    assert with_labels.config.negatives == "other_class"
    batch = METHODS["crd"](spec, config=ContrastConfig(negatives="batch")).objective.contrast
    assert torch.equal(batch.sampler.samples.ids, GROUPS)


@pytest.mark.parametrize("method", ["crd-dense", "crd-local"])
def test_maps_know_the_groups(method: str, zoo) -> None:
    spec = zoo.spec("resnet20", "resnet56", groups=GROUPS)
    assert torch.equal(METHODS[method](spec).objective.contrast.samples.ids, GROUPS)
    assert METHODS[method](spec._replace(groups=None)).objective.contrast.samples.ids is None


@pytest.mark.parametrize("method", ["crd", "crd-dense", "crd-local"])
def test_a_group_that_holds_everything_is_refused(method: str, zoo) -> None:
    with pytest.raises(ValueError, match="31"):
        METHODS[method](zoo.spec("resnet20", "resnet56", labels=None, groups=torch.full((20,), 31)))


def test_few_samples_are_contrasted_within_the_batch_unless_a_setting_says_otherwise(zoo) -> None:
    """From 16,384 samples on, and with any of the settings, as published."""
    few = zoo.spec("resnet20", "resnet56")
    for spec, settings, expected in (
        (few, {}, ("batch", False)),
        (few._replace(labels=None), {}, ("batch", False)),
        (few, {"num_negatives": 16384}, ("other_class", True)),
        (few, {"objective": "nce"}, ("other_class", True)),
        (few, {"objective": "infonce"}, ("other_class", False)),
        (few, {"negatives": "batch"}, ("batch", True)),
        (few._replace(num_samples=50_000, labels=torch.arange(50_000) % 10), {}, ("other_class", True)),
        (few._replace(num_samples=50_000, labels=None), {}, ("uniform", True)),
    ):
        contrast = METHODS["crd"](spec, config=ContrastConfig(**settings)).objective.contrast
        assert (contrast.config.negatives, contrast.critic_student.partition is not None) == expected
        assert contrast.config.num_negatives == 16384
