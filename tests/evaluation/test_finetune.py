"""Fine-tuning of an encoder."""

from pathlib import Path

import torch

from crdkit.data import PairedTensors
from crdkit.engine import TrainConfig, digest, make_accelerator, seeded
from crdkit.evaluation import attach_classifier, finetune
from crdkit.models import DepthCNN


def test_encoder_and_classifier_learn_from_the_labels(tmp_path: Path) -> None:
    label = torch.arange(120) % 2
    rgb = (60 * torch.rand(120, 3, 16, 16) + 120 * label[:, None, None, None]).to(torch.uint8)
    images = PairedTensors(rgb=rgb, label=label)
    config = TrainConfig(epochs=4, batch_size=20, lr=0.05, schedule="cosine")
    results = []
    for name in ("one", "two"):
        with seeded(0):
            encoder = DepthCNN(3, widths=(4, 8), strides=(2, 2))
        before = digest(encoder.state_dict())
        network, history = finetune(
            encoder,
            images,
            images,
            2,
            config,
            tmp_path / name,
            modality="rgb",
            accelerator=make_accelerator(cpu=True),
            seed=1,
        )
        assert network.encoder is encoder and digest(encoder.state_dict()) != before
        assert history[-1]["top1"] == 1.0
        results.append(digest(network.state_dict()))
    assert results[0] == results[1]


def test_new_classifier_is_the_seeds() -> None:
    encoder = DepthCNN(3, widths=(4, 8), strides=(2, 2))
    state = torch.get_rng_state()
    one, two, other = (attach_classifier(encoder, 5, (3, 16, 16), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.classifier.weight, two.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    outputs = one(torch.rand(2, 3, 16, 16))
    assert outputs.logits is not None and outputs.logits.shape == (2, 5)
    torch.testing.assert_close(outputs.logits, one.classifier(outputs.embedding))
