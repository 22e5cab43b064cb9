"""The depth network, and the heads that stand on networks."""

import pytest
import torch

from crdkit.models import (
    ChannelProjection,
    DepthCNN,
    Frozen,
    PyramidSegmenter,
    ReusedClassifier,
    SegmentationHead,
    Segmenter,
    attach_classifier,
    create,
)


def test_depth_cnn_maps_and_embedding() -> None:
    logits, maps, embedding, _ = DepthCNN()(torch.randn(2, 1, 24, 36))
    assert logits is None
    assert [tuple(m.shape) for m in maps] == [
        (2, 32, 12, 18),
        (2, 64, 6, 9),
        (2, 128, 3, 5),
        (2, 256, 3, 5),
        (2, 256, 3, 5),
    ]
    torch.testing.assert_close(embedding, maps[-1].mean((2, 3)))
    assert (
        DepthCNN(2, widths=(3, 4), strides=(1, 2), kernel_size=5)(torch.randn(2, 2, 8, 8)).maps[1].shape[2]
        == 4
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, r"in_channels.*1.*0"),
        ({"widths": ()}, r"widths.*\(\)"),
        ({"widths": (8, 8)}, r"strides.*2.*\(2, 2, 2, 1, 1\)"),
        ({"kernel_size": 4}, r"kernel_size.*4"),
    ],
)
def test_depth_cnn_refuses(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DepthCNN(**arguments)


@pytest.mark.parametrize("hidden", [None, 5])
@pytest.mark.parametrize("levels", [1, 2])
def test_segmenter_gives_a_score_for_each_pixel(hidden: int | None, levels: int) -> None:
    encoder = DepthCNN(widths=(3, 4, 6), strides=(2, 2, 2))
    network = Segmenter(encoder, 4, input_size=(1, 16, 24), hidden=hidden, levels=levels)
    for size in ((16, 24), (19, 33)):
        outputs = network(torch.randn(2, 1, *size))
        assert outputs.logits.shape == (2, 4, *size)
        assert len(outputs.maps) == 3 and outputs.embedding.shape == (2, 6)
    outputs.logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_segmenter_over_a_frozen_encoder_trains_the_head_alone() -> None:
    network = Segmenter(Frozen(DepthCNN(widths=(3,), strides=(2,))), 4, input_size=(1, 8, 8))
    network(torch.randn(2, 1, 8, 8)).logits.sum().backward()
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None} == {"head"}


def test_a_linear_head_is_linear_in_the_map() -> None:
    head = SegmentationHead(3, 2, hidden=None)
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(head(a) + head(b) - head(torch.zeros_like(a)), head(a + b))


@pytest.mark.parametrize("stride", [4, 8])
def test_pyramid_ends_in_the_fused_map(stride: int) -> None:
    encoder = create("resnet18", num_classes=None)
    network = PyramidSegmenter(encoder, 4, input_size=(3, 64, 96), width=16, stride=stride)
    outputs = network(torch.randn(2, 3, 64, 96))
    assert len(outputs.maps) == 6
    assert outputs.maps[-1].shape == (2, 16, 64 // stride, 96 // stride)
    assert outputs.logits.shape == (2, 4, 64 // stride, 96 // stride)
    assert outputs.embedding.shape == (2, 512)
    outputs.logits.square().sum().backward()
    # DDP stops at a parameter that no loss reaches.
    assert all(p.grad is not None for p in network.parameters())


def test_every_level_of_the_pyramid_reaches_the_fused_map() -> None:
    network = PyramidSegmenter(
        DepthCNN(widths=(3, 4, 5), strides=(2, 2, 2)), 3, input_size=(1, 16, 16), width=4, stride=2
    ).eval()
    maps = [torch.randn(1, c, s, s, requires_grad=True) for c, s in ((3, 8), (4, 4), (5, 2))]
    network._top_down(maps).sum().backward()
    assert all(m.grad is not None and m.grad.abs().min() > 0 for m in maps)


def test_bad_settings_are_refused() -> None:
    encoder = DepthCNN(widths=(3, 4), strides=(2, 2))
    with pytest.raises(ValueError, match=r"num_classes.*2.*1"):
        Segmenter(encoder, 1, input_size=(1, 8, 8))
    with pytest.raises(ValueError, match=r"levels.*1.*….*2.*3"):
        Segmenter(encoder, 3, input_size=(1, 8, 8), levels=3)
    with pytest.raises(ValueError, match=r"8.*\[2, 4\]"):
        PyramidSegmenter(encoder, 3, input_size=(1, 16, 16), stride=8)
    with pytest.raises(ValueError, match=r"hidden.*0"):
        SegmentationHead(3, 2, hidden=0)


def test_the_seed_alone_decides_an_attached_classifier() -> None:
    encoder = DepthCNN(3, widths=(4, 8), strides=(2, 2))
    state = torch.get_rng_state()
    one, two, other = (attach_classifier(encoder, 5, (3, 16, 16), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.classifier.weight, two.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert one.encoder is encoder
    outputs, alone = (network(torch.ones(2, 3, 16, 16)) for network in (one.eval(), encoder))
    assert outputs.logits is not None and outputs.logits.shape == (2, 5)
    torch.testing.assert_close(outputs.logits, one.classifier(alone.embedding))
    assert all(torch.equal(a, b) for a, b in zip(outputs.maps, alone.maps, strict=True))


def test_a_reused_classifier_reads_the_average_of_the_projected_map() -> None:
    student, classifier = DepthCNN(3, widths=(4, 8), strides=(2, 2)), torch.nn.Linear(6, 5)
    projector = ChannelProjection(8, 6, hidden=3, size=(2, 4))
    assert projector.channels == (8, 3, 6)
    network = ReusedClassifier(student, projector, classifier).eval()
    x = torch.rand(2, 3, 16, 16)
    outputs, alone = network(x), student(x)
    pooled = torch.nn.functional.adaptive_avg_pool2d(alone.maps[-1], (2, 4))
    torch.testing.assert_close(outputs.maps[-1], projector.transfer(pooled))
    torch.testing.assert_close(outputs.embedding, outputs.maps[-1].mean((2, 3)))
    torch.testing.assert_close(outputs.logits, classifier(outputs.embedding))
    assert network.classifier is not classifier and not network.classifier.weight.requires_grad
