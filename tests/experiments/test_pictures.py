"""Pictures of features and of correlations."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from crdkit.experiments.pictures import embedding_picture, matrix_picture, palette


def pixels(path: Path) -> set[tuple[int, ...]]:
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return {tuple(colour) for colour in np.unique(image.reshape(-1, 3), axis=0).tolist()}


def test_matrices_share_a_scale_about_zero_and_nan_is_grey(tmp_path: Path) -> None:
    matrix = torch.tensor([[2.0, -2.0], [torch.nan, 0.0]])
    both = pixels(matrix_picture(tmp_path / "both.png", {"kd": matrix, "crd": matrix / 100}))
    darkest_red, darkest_blue, grey = (103, 0, 31), (5, 48, 97), (128, 128, 128)
    assert {darkest_red, darkest_blue, grey} <= both
    assert pixels(matrix_picture(tmp_path / "zero.png", {"self": torch.zeros(3, 3)}))
    matrix_picture(tmp_path / "nothing.png", {"none": torch.full((2, 2), torch.nan)})
    assert (tmp_path / "nothing.png").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"matrix 'kd' must be \(C, C\), got \(2, 3\)"):
        matrix_picture(tmp_path / "x.png", {"kd": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="at least one matrix"):
        matrix_picture(tmp_path / "x.png", {})


def test_points_have_the_colours_of_their_classes(tmp_path: Path) -> None:
    points, label = torch.randn(60, 2), torch.arange(60) % 2 * 3
    drawn = pixels(embedding_picture(tmp_path / "points.png", points, label, class_names=list("abcd")))
    colours = [tuple(colour) for colour in palette(4).tolist()]
    assert colours[0] in drawn and colours[3] in drawn and colours[1] not in drawn
    with pytest.raises(ValueError, match=r"points must be \(N, 2\) and label .*\(60, 2\) and \(59,\)"):
        embedding_picture(tmp_path / "x.png", points, label[1:])
