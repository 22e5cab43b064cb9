"""The AlexNet for small images."""

import pytest
import torch

from crdkit.models import create, measure


@pytest.mark.parametrize("side", [32, 48, 96])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_maps_halve_to_an_eighth(side: int, channels: int) -> None:
    found = measure(create("alexnet_small", num_classes=10, in_channels=channels), (channels, side, side))
    assert [m[0] for m in found.maps] == [64, 192, 384, 256, 256]
    assert [m[1] * k for m, k in zip(found.maps, (2, 4, 8, 8, 8), strict=True)] == [side] * 5
    assert (found.embedding, found.logits) == (256, (10,))


def test_preactivations_lack_the_relu_alone() -> None:
    network = create("alexnet_small", num_classes=None).eval()
    outputs = network(torch.randn(2, 3, 32, 32))
    assert outputs.logits is None
    torch.testing.assert_close(outputs.embedding, outputs.maps[-1].mean((2, 3)))
    for before, after in zip(outputs.preactivations[1:], outputs.maps[1:], strict=True):
        assert torch.equal(before.relu(), after) and (before < 0).any()
    assert torch.equal(outputs.preactivations[0], outputs.maps[0])


def test_name_is_suggested() -> None:
    with pytest.raises(ValueError, match="alexnet_small"):
        create("alexnet_smal")
