"""Colored shapes."""

import pytest
import torch

from crdkit.data import ColoredShapes, DataError, lab_modalities, load_images


def test_splits_are_other_images_and_the_same_every_time() -> None:
    train, test, rest = (ColoredShapes(split) for split in ("train", "test", "unlabeled"))
    assert (len(train), len(test), len(rest)) == (600, 600, 1800)
    assert train.num_classes == 6 and train.class_names[1] == "ring"
    assert train.labels.bincount().tolist() == [100] * 6 and "label" not in rest[0]
    assert torch.equal(train.tensors["rgb"], ColoredShapes("train").tensors["rgb"])
    assert not torch.equal(train.tensors["rgb"], test.tensors["rgb"])
    assert load_images("shapes", None, "test", size=48)[0]["rgb"].shape == (3, 48, 48)


def test_no_color_belongs_to_a_class_and_both_views_show_the_shape() -> None:
    train = ColoredShapes()
    rgb = train.__getitems__(range(600))["rgb"]
    means = torch.stack([rgb[train.labels == kind].mean((0, 2, 3)) for kind in range(6)])
    assert (means - means.mean(0)).abs().max() < 0.06
    light, color = lab_modalities(rgb)
    for modality in (light, color):  # what is drawn stands out of its ground
        assert (modality.std((2, 3)).mean(1) > 0.03).float().mean() > 0.9


def test_classes_are_chosen_by_name() -> None:
    two = ColoredShapes("test", classes=["cross", "disc"])
    assert two.class_names == ("cross", "disc") and two.labels.bincount().tolist() == [100, 100]
    with pytest.raises(DataError, match="labels"):
        ColoredShapes("unlabeled", classes=2)
    with pytest.raises(ValueError, match="'val'"):
        ColoredShapes("val")
