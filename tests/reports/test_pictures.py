"""Pictures of features, of correlations, of accuracy by layer and error by teachers."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from crdkit.reports.canvas import palette, save
from crdkit.reports.charts import scatter
from crdkit.reports.drawing import COLORS, draw
from crdkit.reports.ensemble import errors_by_teachers
from crdkit.reports.pictures import matrix_picture, retrieval_picture
from crdkit.reports.recognition import accuracy_by_layer
from crdkit.reports.tables import Column, Summary


def pixels(path: Path) -> set[tuple[int, ...]]:
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return {tuple(color) for color in np.unique(image.reshape(-1, 3), axis=0).tolist()}


def test_matrices_share_a_scale_about_zero_and_nan_is_gray(tmp_path: Path) -> None:
    matrix = torch.tensor([[2.0, -2.0], [torch.nan, 0.0]])
    both = pixels(matrix_picture(tmp_path / "both.png", {"kd": matrix, "crd": matrix / 100}))
    darkest_red, darkest_blue, gray = (103, 0, 31), (5, 48, 97), (128, 128, 128)
    assert {darkest_red, darkest_blue, gray} <= both
    assert pixels(matrix_picture(tmp_path / "zero.png", {"self": torch.zeros(3, 3)}))
    matrix_picture(tmp_path / "nothing.png", {"none": torch.full((2, 2), torch.nan)})
    assert (tmp_path / "nothing.png").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"'kd'.*\(2, 3\)"):
        matrix_picture(tmp_path / "x.png", {"kd": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="matrix"):
        matrix_picture(tmp_path / "x.png", {})


def test_points_have_the_colors_of_their_classes(tmp_path: Path) -> None:
    points, label = torch.randn(60, 2), torch.arange(60) % 2 * 3
    drawn = pixels(save(draw([scatter("kd", points, label, "abcd")]), tmp_path / "points.png"))
    colors = [tuple(color) for color in palette(4).tolist()]
    assert colors[0] in drawn and colors[3] in drawn and colors[1] not in drawn


GRAY, BLUE = (tuple(bytes.fromhex(color[1:])) for color in COLORS[:2])


def summary_of(**metrics: tuple[float, float | None]) -> Summary:
    return {"crd": {name: {"mean": mean, "std": std, "n": 3} for name, (mean, std) in metrics.items()}}


def test_errors_are_drawn_where_they_are_known() -> None:
    summary = summary_of(error_1=(0.4, 0.01), error_4=(0.3, None))
    (alone,) = errors_by_teachers(summary, (1, 2, 4), {}).lines
    assert (alone.name, alone.x, alone.mean) == ("crd", [1, 4], [40.0, 30.0])
    assert (alone.low[0], alone.high[0], alone.low[1]) == pytest.approx((39.0, 41.0, 30.0))
    _, both = errors_by_teachers(summary, (1, 2, 4), {"1": [0.45, 0.47], "4": [0.35]}).lines
    assert both.dashed and both.x == [1, 4] and both.mean == pytest.approx([46.0, 35.0])


def test_layers_are_drawn_from_the_stem_on(tmp_path: Path) -> None:
    layers = [Column("probe_1", "layer 1"), Column("probe_2", "layer 2")]
    chart = accuracy_by_layer(summary_of(probe_1=(0.2, 0.0), probe_2=(0.5, 0.1)), layers)
    assert [(line.x, line.mean) for line in chart.lines] == [([1, 2], [20.0, 50.0])]
    drawn = pixels(save(draw([chart], ["none", "crd"]), tmp_path / "layers.png"))
    assert BLUE in drawn and GRAY not in drawn  # the first color is that of `none`


def test_retrieved_images_stand_beside_their_query(tmp_path: Path) -> None:
    shown = []

    def image(row: int) -> np.ndarray:
        shown.append(row)
        return np.full((3, 4, 4), row / 10)

    found = {"none": [[1, 2], [3, 4]], "crd": [[5, 6], [7, 8]]}
    drawn = pixels(retrieval_picture(tmp_path / "neighbors.png", image, [0, 9], found))
    assert shown == [0, 1, 2, 0, 5, 6, 9, 3, 4, 9, 7, 8]
    assert (255, 0, 0) in drawn  # the queries' frames
    with pytest.raises(ValueError, match="method"):
        retrieval_picture(tmp_path / "none.png", image, [0], {})
