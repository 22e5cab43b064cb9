"""Factor transfer: the teacher's last map paraphrased, and the student's translated to it."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import NonNegative, Positive, UserError
from ..contrast import check_positive
from ..models import Outputs
from .attention import attention_map
from .fitnet import fitnet
from .ops import check_batch, full_precision, same_size
from .spec import FeatureSpec, map_at
from .term import PretrainEpochs, PretrainStage, StatelessLoss, Term


@full_precision
def factor(student_factor: Tensor, teacher_factor: Tensor) -> Tensor:
    """Factor transfer: L1 between two factors, each reduced to its `attention_map`.

    Kim et al., Paraphrasing Complex Network: Network Compression via Factor Transfer, 2018, Eq. 3 with p = 1,
    on the published benchmark's reduction: the mean of squares over channels, of unit length. Of two factors
    of different H or W the larger is average-pooled to the smaller, along each axis.

    Args:
        student_factor: (B, C, H, W), from the `Translator`.
        teacher_factor: (B, C', H', W'), from the `Paraphraser`.

    Raises:
        ValueError: for other than four axes, or different batches.
    """
    check_batch(student_factor, teacher_factor, ndim=4, axes="(B, C, H, W)")
    student, teacher = same_size(student_factor, teacher_factor)
    return F.l1_loss(attention_map(student), attention_map(teacher))


class Paraphraser(nn.Module):
    """An autoencoder of the teacher's map without batch norm; what its encoder gives is the factor.

    Args:
        channels: C of the teacher's map.
        factor_channels: C' of the factor.
        number: of that map, from the stem at 0.
    """

    def __init__(self, channels: int, factor_channels: int, number: int = 0) -> None:
        super().__init__()
        check_positive(channels=channels, factor_channels=factor_channels)
        self.number = number
        self.reads = frozenset({f"maps.{number}"})
        slope = 0.1
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(slope),
            nn.Conv2d(channels, factor_channels, 3, padding=1),
            nn.LeakyReLU(slope),
            nn.Conv2d(factor_channels, factor_channels, 3, padding=1),
            nn.LeakyReLU(slope),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(factor_channels, factor_channels, 3, padding=1),
            nn.LeakyReLU(slope),
            nn.ConvTranspose2d(factor_channels, channels, 3, padding=1),
            nn.LeakyReLU(slope),
            nn.ConvTranspose2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(slope),
        )

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        """The teacher's last map, reconstructed and as it is; the student has no part in it."""
        feature_map = teacher.maps[self.number]
        return self.decoder(self.encoder(feature_map)), feature_map


class Translator(nn.Module):
    """The student's map as a factor: three 3×3 convolutions, each with batch norm and a leaky ReLU.

    Args:
        channels: C of the student's map.
        factor_channels: C' of the factor.
    """

    def __init__(self, channels: int, factor_channels: int) -> None:
        super().__init__()
        check_positive(channels=channels, factor_channels=factor_channels)
        layers: list[nn.Module] = []
        widths = (channels, channels, factor_channels, factor_channels)
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.LeakyReLU(0.1)]
        self.encoder = nn.Sequential(*layers)

    def forward(self, student_map: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        factor: Tensor = self.encoder(student_map)
        return factor


class _Factors(nn.Module):
    """Both factors; no gradient reaches the paraphraser."""

    def __init__(self, translator: Translator, paraphraser: Paraphraser) -> None:
        super().__init__()
        self.translator = translator
        self.encoder = paraphraser.encoder
        self.number, self.reads = paraphraser.number, paraphraser.reads

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            teacher_factor = self.encoder(teacher.maps[self.number])
        return self.translator(student.maps[-1]), teacher_factor


def make_ft(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 200.0,
    fraction: Positive = 0.5,
    epochs: PretrainEpochs = 30,
    paraphraser_lr: Positive = 0.01,
) -> Term:
    """Factor transfer (`factor`) of the last maps, after a training of the `Paraphraser`.

    Args:
        spec: two networks with maps.
        weight: published.
        fraction: k, the factor's channels as a share of the teacher's.
        epochs: of the paraphraser's training, by mean squared error.
        paraphraser_lr: of that training; published: 0.01 but for VGG students, 0.05.
    """
    student, teacher = map_at(spec, "ft", -1)
    width = int(fraction * teacher[0])
    if width < 1:
        raise UserError(f"fraction must leave at least one of {teacher[0]} channels, got {fraction}")
    paraphraser = Paraphraser(teacher[0], width, len(spec.teacher.maps) - 1)
    return Term(
        _Factors(Translator(student[0], width), paraphraser),
        StatelessLoss(factor),
        weight=weight,
        pretrain=PretrainStage(
            paraphraser, StatelessLoss(fitnet), epochs=epochs, trains_student=False, lr=paraphraser_lr
        ),
    )
