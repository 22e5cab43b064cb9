"""What the teachers of a pool predict together."""

import torch
from torch import nn

from crdkit.ensemble import EnsembleMean, mean_logits
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
