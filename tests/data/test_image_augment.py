"""The published CIFAR augmentation, on whole batches: RandomCrop(32, padding=4) and RandomHorizontalFlip."""

from itertools import product

import pytest
import torch
from scipy.stats import chisquare
from torchvision.transforms import functional as published

from crdkit.data import ImageAugment, ImageAugmentConfig, ImagesConfig, Normalize, Statistics, augment_images
from crdkit.data.transforms import augment as augment_module
from crdkit.data.transforms.geometry import maps_of, warp_nearest

CIFAR = ImageAugmentConfig.cifar()
PADDING = 4


def every_view(image: torch.Tensor) -> dict[tuple[int, int, bool], torch.Tensor]:
    """What torchvision can make of (3, H, W): each place of the crop, as it is and mirrored."""
    height, width = image.shape[1:]
    padded = published.pad(image, [PADDING])
    return {
        (top, left, flip): published.hflip(part) if flip else part
        for top, left, flip in product(range(9), range(9), (False, True))
        for part in [published.crop(padded, top, left, height, width)]
    }


@pytest.mark.parametrize("shape", [(32, 32), (12, 20), (64, 64), (96, 96)])
def test_each_of_the_162_views_is_exact(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.randint(0, 256, (3, *shape)).float() / 255
    modalities = every_view(image)
    assert len({modality.numpy().tobytes() for modality in modalities.values()}) == 162
    places = torch.tensor([(left - PADDING, top - PADDING) for top, left, _ in modalities]).T
    flips = torch.tensor([0.0 if flip else 1.0 for *_, flip in modalities])
    monkeypatch.setattr(augment_module.torch, "randint", lambda *_: places)
    monkeypatch.setattr(augment_module.torch, "rand", lambda *_: flips)
    result = augment_images(image.expand(162, -1, -1, -1), CIFAR)
    assert torch.equal(result, torch.stack(list(modalities.values())))


def test_places_are_uniform_and_flips_independent() -> None:
    image = torch.rand(3, 12, 12) * 0.9 + 0.1
    number = {modality.numpy().tobytes(): row for row, modality in enumerate(every_view(image).values())}
    drawn = [
        number[modality.numpy().tobytes()]
        for _ in range(10)
        for modality in augment_images(image.expand(1620, -1, -1, -1), CIFAR)
    ]
    counts = torch.bincount(torch.tensor(drawn), minlength=162)  # top, left, flip: one cell each
    assert chisquare(counts.numpy()).pvalue > 1e-3
    assert chisquare(counts.view(9, 9, 2).sum((0, 1)).numpy()).pvalue > 1e-3
    assert chisquare(counts.view(81, 2).sum(1).numpy()).pvalue > 1e-3


def test_black_comes_in_before_the_normalization() -> None:
    cifar = ImagesConfig.cifar100()
    assert cifar.mean is not None and cifar.std is not None
    statistics = Statistics({"rgb": cifar.mean}, {"rgb": cifar.std})
    normalize = Normalize(statistics, "rgb")
    images = torch.rand(64, 3, 32, 32) * 0.9 + 0.1
    result = normalize(ImageAugment(CIFAR)({"rgb": images})["rgb"])
    black = normalize(torch.zeros(1, 3, 1, 1))
    assert (
        black.flatten() + torch.tensor([0.5071, 0.4867, 0.4408]) / torch.tensor([0.2675, 0.2565, 0.2761])
    ).abs().max() < 1e-6
    outside = (result == black).all(1)
    assert outside.any() and not outside[:, 4:-4, 4:-4].any()
    modalities = {
        published.normalize(modality, *(list(v["rgb"]) for v in (statistics.mean, statistics.std)))
        .numpy()
        .round(5)
        .tobytes()
        for modality in every_view(images[0]).values()
    }
    assert result[0].numpy().round(5).tobytes() in modalities


def test_a_batch_passes_with_its_index_and_label() -> None:
    batch = {"index": torch.arange(3), "rgb": torch.rand(3, 3, 32, 32), "label": torch.tensor([5, 1, 2])}
    kept = {name: value.clone() for name, value in batch.items()}
    result = ImageAugment(CIFAR)(batch)
    assert result.keys() == batch.keys()
    assert torch.equal(result["index"], kept["index"]) and torch.equal(result["label"], kept["label"])
    assert torch.equal(batch["rgb"], kept["rgb"]), "the batch given is left as it is"
    torch.manual_seed(7)
    first = ImageAugment(CIFAR)(batch)["rgb"]
    torch.manual_seed(7)
    assert torch.equal(ImageAugment(CIFAR)(batch)["rgb"], first)


def test_no_padding_and_no_flip_change_no_bit() -> None:
    still = ImageAugmentConfig(crop="padded", padding=0, flip=0.0, jitter=0.0, grayscale=0.0)
    images = torch.rand(5, 3, 32, 32)
    assert torch.equal(augment_images(images, still), images)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(5, 4)
    assert torch.equal(warp_nearest(images, maps_of(boxes, (32, 32)), padding="zeros"), images)
