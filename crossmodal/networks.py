"""The networks of the cross-modal pipeline, each behind the normalization of its own view."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, cat, nn

from ..data import Statistics
from ..engine import behind
from ..models import DepthCNN, Normalized, PyramidSegmenter, create
from .config import DataConfig, StudentConfig, TeacherConfig


def make_teacher(
    config: TeacherConfig, data: DataConfig, statistics: Statistics, num_classes: int
) -> Normalized:
    """The teacher: a classifier, with a segmentation decoder where it learns from its view's labels."""
    channels = len(statistics.mean[data.teacher_modality])
    network: nn.Module = create(
        config.architecture,
        num_classes=None if config.labels else config.classes,
        in_channels=channels,
        weights=config.weights,
    )
    if config.labels:
        network = PyramidSegmenter(
            network, num_classes, input_size=(channels, *data.size), width=config.width
        )
    return behind(network, statistics, data.teacher_modality)


def make_student(config: StudentConfig, data: DataConfig, statistics: Statistics) -> Normalized:
    """The student's encoder."""
    channels = len(statistics.mean[data.student_modality])
    network = DepthCNN(channels, widths=config.widths, strides=config.strides)
    return behind(network, statistics, data.student_modality)


class TeacherTargets(nn.Module):
    """What the transfer reads of a teacher, as named tensors.

    `logits` as the teacher gives them · `embedding` (B, D) · `map`, the dense target: a segmenter's fused
    map, or a classifier's hypercolumn (Hariharan et al., 2015), its maps from `grid` rows down, resized to
    the finest of them and stacked · `attention{i}` (B, 1, H, W) of every map after the stem: the root of
    the mean square over channels, whose own attention (`distillers.attention`) equals the map's.

    Args:
        network: the teacher, returning `Outputs`.
        grid: rows of the student's last map.
        fused: the last map is a fused one, the dense target as it is.
    """

    def __init__(self, network: nn.Module, *, grid: int, fused: bool) -> None:
        super().__init__()
        self.network = network
        self.grid = grid
        self.fused = fused

    def forward(self, view: Tensor) -> dict[str, Tensor]:
        outputs = self.network(view)
        targets = {"logits": outputs.logits, "embedding": outputs.embedding}
        targets["map"] = outputs.maps[-1] if self.fused else self._hypercolumn(outputs.maps)
        for i, feature_map in enumerate(outputs.maps[1:]):
            targets[f"attention{i}"] = feature_map.float().square().mean(1, keepdim=True).sqrt()
        return targets

    def _hypercolumn(self, maps: tuple[Tensor, ...]) -> Tensor:
        coarse = [m for m in maps if m.shape[2] <= self.grid] or [maps[-1]]
        size = coarse[0].shape[2:]
        return cat([F.interpolate(m, size, mode="bilinear", align_corners=False) for m in coarse], dim=1)
