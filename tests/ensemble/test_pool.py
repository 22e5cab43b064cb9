"""What the teachers of a pool predict together."""

import pytest
import torch
from torch import nn

from crdkit.ensemble import EnsembleMean, disputed, mean_logits, right_where_disputed
from crdkit.models import create
from crdkit.transfer import Teacher


def test_mean_is_of_the_probabilities() -> None:
    networks: list[nn.Module] = [create(name, num_classes=3).eval() for name in ("resnet8", "wrn_16_1")]
    images = torch.rand(5, 3, 16, 16)
    expected = sum(network(images).logits.softmax(1) for network in networks) / 2
    together = EnsembleMean([Teacher(network) for network in networks])
    torch.testing.assert_close(together(images).logits.exp(), expected)
    certain = torch.tensor([[[1000.0, 0.0]], [[0.0, 0.0]]])
    torch.testing.assert_close(mean_logits(certain).exp(), torch.tensor([[0.75, 0.25]]))


def test_disputes_are_counted_member_by_member() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, label, named = (
        torch.randn(5, 40, 3, generator=generator),
        torch.randint(3, (40,), generator=generator),
        torch.randint(3, (40,), generator=generator),
    )
    together = mean_logits(logits).argmax(1)
    cases: dict[str, list[bool]] = {"corrected": [], "overruled": []}
    for sample in range(40):
        for member in range(5):
            alone = bool(logits[member, sample].argmax() == label[sample])
            if alone != bool(together[sample] == label[sample]):
                cases["overruled" if alone else "corrected"].append(bool(named[sample] == label[sample]))
    assert all(cases.values())
    shares = disputed(logits, label)
    right = right_where_disputed(named == label, shares)
    for name, case in cases.items():
        assert float(shares[name].mean()) == pytest.approx(len(case) / 200)
        assert right[name] == pytest.approx(sum(case) / len(case))
    follower = right_where_disputed(together == label, shares)
    assert follower == pytest.approx({"corrected": 1, "overruled": 0})
    members = (logits.argmax(2) == label).double().mean()
    gained = shares["corrected"].mean() - shares["overruled"].mean()
    assert float((together == label).double().mean() - members) == pytest.approx(float(gained))


def test_one_teacher_has_no_disputes() -> None:
    logits, label = torch.randn(1, 6, 3), torch.arange(6) % 3
    shares = disputed(logits, label)
    assert right_where_disputed(torch.ones(6, dtype=torch.bool), shares) == {}
    assert not any(share.any() for share in shares.values())
