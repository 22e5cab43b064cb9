"""Probes of every layer in one pass, by folds, and retrieval."""

import pytest
import torch
from torch import Tensor, nn

from crdkit.evaluation import (
    Features,
    Layer,
    extract,
    extract_layers,
    layers_of,
    nearest,
    probe_features,
    probe_logistic,
    probe_sgd,
)
from crdkit.models import Outputs, create, measure


def two_classes(count: int) -> list[dict[str, Tensor]]:
    """Dark and bright images, in batches of 10."""
    label = torch.arange(count) % 2
    rgb = (0.3 * torch.rand(count, 3, 16, 16) + 0.5 * label[:, None, None, None]).clamp(0, 1)
    return [{"rgb": rgb[i : i + 10], "label": label[i : i + 10]} for i in range(0, count, 10)]


@pytest.fixture
def network() -> nn.Module:
    return create("resnet8", num_classes=3)


def test_all_layers_of_one_pass_are_those_of_many(network: nn.Module) -> None:
    batches = two_classes(20)
    layers = [Layer(0, 2), Layer(-1, 1), Layer()]
    for layer, found in zip(layers, extract_layers(network, batches, layers, modality="rgb"), strict=True):
        alone = extract(network, batches, modality="rgb", layer=layer.number, grid=layer.grid)
        assert torch.equal(found.vectors, alone.vectors) and torch.equal(found.label, alone.label)


def test_network_runs_once_for_all_layers() -> None:
    calls = []

    def network(modality: Tensor) -> Outputs:
        calls.append(len(modality))
        return Outputs(None, (modality,), modality.mean((2, 3)))

    extract_layers(network, two_classes(20), [Layer(0, 1), Layer(0, 2), Layer()], modality="rgb")
    assert calls == [10, 10]


def test_layers_have_comparable_lengths() -> None:
    maps = measure(create("alexnet_small"), (3, 48, 48)).maps
    layers = layers_of(maps, 1024)
    assert [layer.number for layer in layers] == list(range(5))
    lengths = [shape[0] * (layer.grid or 0) ** 2 for shape, layer in zip(maps, layers, strict=True)]
    assert lengths == [1024, 768, 384, 1024, 1024]
    assert layers_of([(2048, 7, 7)], 1024) == [Layer(0, 1)]
    assert layers_of([(4, 3, 3)], 1024) == [Layer(0, 3)]


def test_a_probe_without_folds_is_one_probe_of_all_rows(network: nn.Module) -> None:
    train, test = (extract(network, two_classes(n), modality="rgb", layer=1, grid=1) for n in (40, 20))
    found = probe_features(train, test)
    expected = probe_logistic(train, test)
    assert found.folds == (expected,) and found.top1 == expected.top1 == 1.0 and found.std is None


@pytest.mark.parametrize("fit", ["logistic", "sgd"])
def test_folds_are_probes_of_their_own_rows(fit: str) -> None:
    label = torch.arange(60) % 3
    train = Features(torch.randn(60, 5) + label[:, None], label)
    test = Features(torch.randn(30, 5) + label[:30, None], label[:30])
    folds = [torch.arange(0, 30), torch.arange(20, 60)]
    settings = {"epochs": 3} if fit == "sgd" else {}
    found = probe_features(train, test, fit=fit, folds=folds, **settings)
    probe = probe_sgd if fit == "sgd" else probe_logistic
    alone = [probe(Features(train.vectors[r], train.label[r]), test, **settings) for r in folds]
    assert found.folds == tuple(alone)
    assert found.top1 == pytest.approx(sum(one.top1 for one in alone) / 2)
    assert found.std == pytest.approx(abs(alone[0].top1 - alone[1].top1) / 2**0.5)


def test_faults_of_a_probe_are_named() -> None:
    features = Features(torch.randn(6, 2), torch.arange(6) % 2)
    with pytest.raises(ValueError, match=r"fit.*'svm'"):
        probe_features(features, features, fit="svm")
    with pytest.raises(ValueError, match=r"1.*0.*….*5"):
        probe_features(features, features, folds=[torch.arange(4), torch.tensor([6])])


def test_nearest_rows_are_those_of_the_largest_cosine() -> None:
    queries, bank = torch.randn(4, 3), torch.randn(11, 3)
    found = nearest(queries, bank, neighbors=3)
    for query, rows in zip(queries, found, strict=True):
        cosine = [float(query @ row / (query.norm() * row.norm())) for row in bank]
        assert rows.tolist() == sorted(range(11), key=lambda i, c=cosine: -c[i])[:3]
    with pytest.raises(ValueError, match=r"11, .* got 12"):
        nearest(queries, bank, neighbors=12)
    with pytest.raises(ValueError, match=r"\(B, D\) and \(N, D\)"):
        nearest(queries, torch.randn(3, 4))
