"""How each modality is pictured, and what a network is said to cost."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crdkit.data import lab_modalities
from crdkit.reports.canvas import IGNORE_COLOR
from crdkit.reports.cost import cost_of, minutes_in
from crdkit.reports.modalities import pictured


def lightness(images: np.ndarray) -> np.ndarray:
    return images.astype(float) @ (0.299, 0.587, 0.114)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_number_of_channels_is_an_image(channels: int) -> None:
    images, words = pictured("sensor", torch.randn(2, channels, 5, 6))
    assert images.shape == (2, 5, 6, 3) and images.dtype == np.uint8 and words
    assert len(np.unique(images)) > 10


def test_rgb_is_as_it_is() -> None:
    rgb = torch.rand(2, 3, 4, 5)
    images, words = pictured("rgb", rgb)
    assert (
        np.array_equal(images, (rgb.permute(0, 2, 3, 1).double() * 255).round().byte().numpy()) and not words
    )


def test_depth_is_gray_without_reading_and_brighter_when_near() -> None:
    depth = torch.linspace(1, 10, 20).reshape(1, 1, 4, 5)
    depth[0, 0, 0, 0] = 0
    images, _ = pictured("depth", depth)
    assert tuple(images[0, 0, 0]) == IGNORE_COLOR
    light = lightness(images[0]).ravel()[1:]
    assert (np.diff(light[1:-1]) < 0).all()


def test_one_channel_rises_in_lightness_on_one_scale_for_all_samples() -> None:
    values = torch.linspace(-40, 80, 40).reshape(2, 1, 4, 5)
    images, _ = pictured("thermal", values)
    assert (np.diff(lightness(images).ravel()) >= 0).all()
    values[0, 0, 1, 1] = torch.nan
    assert tuple(pictured("thermal", values).images[0, 1, 1]) == IGNORE_COLOR


def test_events_are_red_and_blue_on_white() -> None:
    events = torch.zeros(1, 2, 2, 2)
    events[0, 0, 0, 0] = events[0, 1, 1, 1] = 5.0
    (image,) = pictured("events", events).images
    assert tuple(image[0, 1]) == (255, 255, 255)
    assert image[0, 0, 0] > 200 > image[0, 0, 2] and image[1, 1, 2] > 200 > image[1, 1, 0]


def test_directions_have_hues() -> None:
    flow = torch.zeros(1, 2, 1, 3)
    flow[0, :, 0] = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
    (image,) = pictured("flow", flow).images
    assert tuple(image[0, 0]) == (255, 0, 0) and tuple(image[0, 1]) == (0, 255, 255)
    assert tuple(image[0, 2]) == (255, 255, 255)


def test_color_without_lightness_keeps_the_hue() -> None:
    rgb = torch.tensor([[0.8, 0.2, 0.2], [0.2, 0.7, 0.3], [0.5, 0.5, 0.5]]).T.reshape(1, 3, 1, 3)
    light, color = lab_modalities(rgb)
    (image,) = pictured("ab", color).images
    assert image[0].argmax(-1).tolist()[:2] == [0, 1]
    assert np.ptp(image[0, 2].astype(int)) <= 2  # gray stays gray
    gray = pictured("l", light).images[0, 0]
    assert np.ptp(gray.astype(int), axis=-1).max() == 0 and gray[1, 0] > gray[0, 0]


def test_constant_and_unknown_planes_are_drawn() -> None:
    assert pictured("thermal", torch.ones(1, 1, 2, 2)).images.shape == (1, 2, 2, 3)
    assert (pictured("thermal", torch.full((1, 1, 2, 2), torch.nan)).images == IGNORE_COLOR).all()


def test_parameters_and_operations_of_a_convolution() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)).train()
    mean = network[1].running_mean.clone()
    cost = cost_of(network, torch.rand(1, 3, 10, 12))
    assert cost.parameters == 3 * 8 * 9 + 8 + 16
    assert cost.flops == 2 * 8 * 27 * 10 * 12  # a multiplication and an addition for each weight and place
    assert cost.milliseconds > 0 and network.training and torch.equal(network[1].running_mean, mean)


def test_every_part_of_a_measured_network_has_its_own_mode_again() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8).eval())
    before = [part.training for part in network.modules()]
    assert before == [True, True, False]
    slow = nn.Sequential(*[nn.Conv2d(3, 3, 9, padding=4) for _ in range(20)])
    image = torch.rand(1, 3, 64, 64)
    assert cost_of(network, image).milliseconds < cost_of(slow, image).milliseconds
    assert [part.training for part in network.modules()] == before


def test_minutes_are_those_of_every_training_below(tmp_path: Path) -> None:
    assert minutes_in(tmp_path) is None
    for name, seconds in (("transfer", (10.0, 30.0)), ("segment", (90.0,))):
        (tmp_path / name).mkdir()
        rows = [{"kind": "epoch", "seconds": s} for s in seconds] + [{"kind": "step"}]
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert minutes_in(tmp_path) == 2.0
