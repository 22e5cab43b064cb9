"""Any module through its named layers."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from crdkit.models import FeatureExtractor, Outputs


class UserNet(nn.Module):
    """A network as users have them: nested names, a layer used twice, an output of its own kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.stage = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 5)
        self.spare = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stage(self.stem(x)))
        return self.head(self.act(x * 2).mean((2, 3)))


def test_features_are_the_layers_outputs() -> None:
    net = UserNet()
    extract = FeatureExtractor(net, maps=["stem", "stem.1", "stage"], embedding="act", logits="head")
    x = torch.randn(2, 3, 8, 8)
    outputs = extract(x)
    assert isinstance(outputs, Outputs)
    torch.testing.assert_close(outputs.maps[0], net.stem(x))
    assert outputs.maps[1] is outputs.maps[0]
    torch.testing.assert_close(outputs.maps[2], net.stage(net.stem(x)))
    # `act` ran twice: the last run counts, averaged over positions.
    torch.testing.assert_close(outputs.embedding, 2 * net.stage(net.stem(x)).relu().mean((2, 3)))
    torch.testing.assert_close(outputs.logits, net(x))


def test_defaults_are_the_own_output_and_the_average_of_the_last_map() -> None:
    net = UserNet()
    x = torch.randn(2, 3, 8, 8)
    outputs = FeatureExtractor(net, maps=["stem", "stage"])(x)
    torch.testing.assert_close(outputs.logits, net(x))
    torch.testing.assert_close(outputs.embedding, outputs.maps[-1].mean((2, 3)))
    assert FeatureExtractor(net, maps=["stem"], logits=None)(x).logits is None


def test_gradients_flow_through_the_features() -> None:
    net = UserNet()
    FeatureExtractor(net, maps=["stem"])(torch.randn(2, 3, 8, 8)).maps[0].sum().backward()
    assert net.stem[0].weight.grad is not None and net.stem[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_read_themselves(duplicate) -> None:
    first = FeatureExtractor(UserNet(), maps=["stem", "stage"])
    x = torch.randn(1, 3, 8, 8)
    before = first(x)
    second = duplicate(first)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(1.0)
    changed, after = second(x), first(x)
    assert torch.equal(after.maps[1], before.maps[1])
    assert not torch.equal(changed.maps[1], before.maps[1])


def test_nothing_stays_behind_on_the_module() -> None:
    net = UserNet()
    extract = FeatureExtractor(net, maps=["stem"])
    extract(torch.randn(1, 3, 8, 8))
    with pytest.raises(RuntimeError):
        extract(torch.randn(1, 2, 8, 8))  # the module itself fails
    assert all(not part._forward_hooks for part in net.modules())


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"'stagge'.*stem\.1"):
        FeatureExtractor(UserNet(), maps=["stagge"])
    with pytest.raises(ValueError, match="'stem'"):
        FeatureExtractor(UserNet(), maps="stem")
    with pytest.raises(ValueError, match="layer"):
        FeatureExtractor(UserNet(), maps=[])


def test_layers_that_cannot_serve_are_named() -> None:
    x = torch.randn(1, 3, 8, 8)
    with pytest.raises(RuntimeError, match=r"'spare'.*UserNet"):
        FeatureExtractor(UserNet(), maps=["stem"], embedding="spare")(x)
    with pytest.raises(ValueError, match=r"\(B, C, H, W\); layer 'head' gave \(1, 5\)"):
        FeatureExtractor(UserNet(), maps=["head"])(x)


def test_a_map_overwritten_in_place_is_not_passed_off_as_the_layers_output() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    x = torch.randn(2, 3, 4, 4)
    with pytest.raises(RuntimeError, match="'1'"):
        FeatureExtractor(net, maps=["1"])(x)
    assert FeatureExtractor(net, maps=["2"])(x).maps[0].min() == 0
    with torch.inference_mode():
        assert FeatureExtractor(net, maps=["2"])(x).maps[0].min() == 0
