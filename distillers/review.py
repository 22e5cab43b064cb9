"""Knowledge review: the student's deep maps fused into its shallow ones, stage by stage."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import Count, NonNegative
from ..contrast import check_positive
from ..models import Outputs
from .ops import check_maps, check_same, full_precision
from .spec import FeatureSpec, Shape, stage_maps
from .standardize import StandardizeMode, standardizer
from .term import StatelessLoss, Term


@full_precision
def hcl(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """Hierarchical context loss: mean squared differences at several resolutions, summed over maps.

    A map is compared as it is (weight 1) and average-pooled to 4×4, 2×2 and 1×1 (½, ¼, ⅛), as far as that
    makes it smaller; the weights of a map are divided by their sum. Chen et al., Distilling Knowledge via
    Knowledge Review, 2021, Sec. 3.4.

    Args:
        student_maps: each (B, C_i, H_i, W_i), already fused to the teacher's shape.
        teacher_maps: as many, each of the same shape.

    Raises:
        ValueError: for maps that do not pair up, or differ in shape.
    """
    check_maps(student_maps, teacher_maps)
    losses = []
    for student, teacher in zip(student_maps, teacher_maps, strict=True):
        check_same(student, teacher, ndim=4, axes="(B, C, H, W)")
        loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
        for size in (4, 2, 1):
            if size < min(student.shape[2:]):
                weight /= 2
                total += weight
                coarse = F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)
                loss = loss + weight * F.mse_loss(*coarse)
        losses.append(loss / total)
    return torch.stack(losses).sum()


class Fusion(nn.Module):
    """Attention-based fusion: a stage's map, mixed with what the deeper stages left, for the teacher's map.

    A 1×1 convolution brings the map to `width`; two attention maps from both weigh it and the deeper residual
    (resized to it); the sum, resized to the teacher's size, is the next residual, and through a 3×3
    convolution the answer. Both convolutions have batch norm. Chen et al., 2021, Fig. 3a.

    Args:
        student_shape: (C, H, W) of the student's map.
        teacher_shape: (C', H', W') of the teacher's map.
        width: channels of the residual.
        deepest: there is no residual from a deeper stage.
    """

    def __init__(
        self, student_shape: Shape, teacher_shape: Shape, width: int, *, deepest: bool = False
    ) -> None:
        super().__init__()
        check_positive(width=width)
        self.size = (teacher_shape[1], teacher_shape[2])
        self.narrow = nn.Sequential(nn.Conv2d(student_shape[0], width, 1, bias=False), nn.BatchNorm2d(width))
        self.attend = None if deepest else nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid())
        self.answer = nn.Sequential(
            nn.Conv2d(width, teacher_shape[0], 3, padding=1, bias=False), nn.BatchNorm2d(teacher_shape[0])
        )
        for layer in (self.narrow[0], self.answer[0]):
            nn.init.kaiming_uniform_(layer.weight, a=1)  # type: ignore[arg-type]

    def forward(self, student_map: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The answer (B, C', H', W') and the residual (B, width, H', W') for the next, shallower stage.

        Args:
            student_map: (B, C, H, W).
            residual: (B, width, …) of the deeper stage; unless this is the deepest.
        """
        x = self.narrow(student_map)
        if self.attend is not None and residual is not None:
            residual = F.interpolate(residual, x.shape[2:], mode="nearest")
            here, deeper = self.attend(torch.cat([x, residual], dim=1)).split(1, dim=1)
            x = here * x + deeper * residual
        if tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, self.size, mode="nearest")
        return self.answer(x), x


class Review(nn.Module):
    """A `Fusion` for the embedding, as a map of one position, and for every map beyond the stem.

    Args:
        shapes: (C, H, W) of each pair of maps, student's and teacher's, from the first stage on; the
            embeddings, (D, 1, 1), last.
        max_width: of the residual, which is as wide as the student's embedding below that.
        preactivations: compare with the teacher's maps before their ReLU.
        targets: what each of the teacher's maps goes through; None for nothing.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[Shape, Shape]],
        *,
        max_width: int = 512,
        preactivations: bool = False,
        targets: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.targets = nn.ModuleList(targets or (nn.Identity() for _ in shapes))
        self.part = "preactivations" if preactivations else "maps"
        self.reads = frozenset({"embedding", *(f"{self.part}.{i}" for i in range(1, len(shapes)))})
        width = min(max_width, shapes[-1][0][0])
        self.fusions = nn.ModuleList(
            Fusion(student, teacher, width, deepest=i == len(shapes) - 1)
            for i, (student, teacher) in enumerate(shapes)
        )

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The student's answers and the teacher's maps, from the first stage to the embedding.

        The teacher's maps are those before their ReLU, as published; those after it if it does not give the
        others.
        """
        maps = (*student.maps[1:], student.embedding[:, :, None, None])
        residual, answers = None, []
        for fuse, feature_map in zip(reversed(self.fusions), reversed(maps), strict=True):
            answer, residual = fuse(feature_map, residual)
            answers.append(answer)
        targets = (*getattr(teacher, self.part)[1:], teacher.embedding[:, :, None, None])
        return tuple(reversed(answers)), tuple(f(x) for f, x in zip(self.targets, targets, strict=True))


def make_reviewkd(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 5.0,
    warmup_epochs: NonNegative = 20.0,
    max_width: Count = 512,
    standardize: StandardizeMode = False,
) -> Term:
    """Knowledge review (`hcl` of a `Review`) of the maps beyond the stem and the embeddings.

    Args:
        spec: two networks with equally many maps.
        weight: published for five of the eight pairs; 8 for resnet32x4→ShuffleV2, 1 for resnet110→resnet32,
            0.6 for resnet56→resnet20.
        warmup_epochs: of the weight.
        max_width: of the residual that goes from stage to stage.
        standardize: answer with features of mean 0 and variance 1 (`Standardize`), or "phi-s".
    """
    embeddings: tuple[Shape, Shape] = (spec.student.embedding, 1, 1), (spec.teacher.embedding, 1, 1)
    shapes = [*stage_maps(spec, "reviewkd", equally_many=True), embeddings]
    targets = [standardizer(teacher[0], spec.num_samples, standardize) for _, teacher in shapes]
    return Term(
        Review(shapes, max_width=max_width, preactivations=spec.teacher.preactivations > 0, targets=targets),
        StatelessLoss(hcl),
        weight=weight,
        warmup_epochs=warmup_epochs,
    )
