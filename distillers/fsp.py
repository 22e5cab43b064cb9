"""Flow of solution procedure: how a network's channels go together from one stage to the next."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common import NonNegative, UserError
from .ops import check_maps, full_precision, same_size
from .spec import FeatureSpec, refusal
from .term import PretrainEpochs, PretrainStage, SelectOutputs, StatelessLoss, Term


@full_precision
def fsp(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Flow of solution procedure: the difference of the flow matrices between consecutive maps.

    The flow from map x (C channels) to the next one y (C') is the C×C' matrix of mean x_c·y_c' over the
    positions, the larger map average-pooled to the smaller; L sums the mean squared differences over the
    n − 1 flows. Yim et al., A Gift from Knowledge Distillation, 2017, Eq. 1 and 2.

    Args:
        student_maps: at least two, each (B, C_i, H_i, W_i).
        teacher_maps: as many, each (B, C_i, H'_i, W'_i): the same channels.

    Raises:
        ValueError: for fewer than two maps, different counts, batches or channels.
    """
    check_maps(student_maps, teacher_maps, least=2)
    channels = [[x.shape[1] for x in maps] for maps in (student_maps, teacher_maps)]
    if channels[0] != channels[1]:
        raise UserError(f"maps must have the same channels, got {channels[0]} and {channels[1]}")
    flows = zip(_flows(student_maps), _flows(teacher_maps), strict=True)
    return torch.stack([F.mse_loss(s, t) for s, t in flows]).sum()


def _flows(maps: Sequence[Tensor]) -> list[Tensor]:
    flows = []
    for bottom, top in pairwise(maps):
        x, y = (feature_map.flatten(2) for feature_map in same_size(bottom, top))
        flows.append(x @ y.mT / x.shape[2])
    return flows


def make_fsp(spec: FeatureSpec, *, weight: NonNegative = 0.0, epochs: PretrainEpochs = 30) -> Term:
    """Flow matrices (`fsp`) of all maps as an initialization; then the cross-entropy alone.

    Args:
        spec: two networks with equally many maps, of the same channels.
        weight: of the same loss in the distillation that follows; published: none.
        epochs: of the initialization.

    Raises:
        ValueError: for networks whose channels differ, which the published benchmark leaves out too.
    """
    student, teacher = ([shape[0] for shape in side.maps] for side in (spec.student, spec.teacher))
    if student != teacher or len(student) < 2:
        raise refusal(spec, "fsp", "its flow matrices need the same channels in at least two maps")
    projector = SelectOutputs("maps", *range(len(student)))
    objective = StatelessLoss(fsp)
    stage = PretrainStage(projector, objective, epochs=epochs)
    return Term(projector, objective, weight=weight, pretrain=stage)
