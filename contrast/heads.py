"""The critic's heads g_S and g_T: a projection to the shared space, then unit length."""

import torch
from torch import Tensor, nn

from ..common import UserError
from .checks import check_positive

#: Below this length a vector has no direction; it maps to zero, and its gradient passes unscaled.
_TINY = 1e-8


def normalize(x: Tensor) -> Tensor:
    """x / ‖x‖ along dim 1, in fp32 or wider. A zero vector stays zero and gets a finite gradient.

    `F.normalize` divides by an eps there, and so multiplies the gradient of a zero vector by 10^12.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / norm.masked_fill(norm < _TINY, 1.0)


class CriticHeads(nn.Module):
    """Maps both sides' features to unit vectors whose product is the score s = z_t·z_s.

    Args:
        student_dim: channels of the student's features.
        teacher_dim: channels of the teacher's features.
        embed_dim: d of the shared space.
        kind: "linear" (Tian et al., 2020) or "mlp" (one hidden layer of the input's width).
        learn_teacher: whether the teacher's head trains. Else it is linear, orthogonal and stays as it is
            drawn: the teacher's similarities are targets then. They pass it unchanged if teacher_dim is no
            larger than embed_dim, else with an error of about 1/√embed_dim.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        embed_dim: int = 128,
        *,
        kind: str = "linear",
        learn_teacher: bool = True,
    ) -> None:
        super().__init__()
        check_positive(student_dim=student_dim, teacher_dim=teacher_dim, embed_dim=embed_dim)
        self.student = _projection(student_dim, embed_dim, kind)
        if learn_teacher:
            self.teacher = _projection(teacher_dim, embed_dim, kind)
        else:
            fixed = nn.Linear(teacher_dim, embed_dim)
            nn.init.orthogonal_(fixed.weight)
            nn.init.zeros_(fixed.bias)
            self.teacher = fixed.requires_grad_(False)

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors along dim 1 of both sides, fp32 or wider.

        Args:
            student: features (B, student_dim) or maps (B, student_dim, H, W).
            teacher: features (B, teacher_dim) or maps (B, teacher_dim, H', W').

        Returns:
            (z_s, z_t), shaped as the inputs with embed_dim channels.
        """
        return _project(self.student, student, "student"), _project(self.teacher, teacher, "teacher")


def _projection(in_dim: int, embed_dim: int, kind: str) -> nn.Module:
    if kind == "linear":
        return nn.Linear(in_dim, embed_dim)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(in_dim, in_dim), nn.ReLU(), nn.Linear(in_dim, embed_dim))
    raise UserError(f"kind must be 'linear' or 'mlp', got {kind!r}")


def _project(head: nn.Module, features: Tensor, side: str) -> Tensor:
    if features.dim() not in (2, 4):
        raise ValueError(f"{side} features must be (B, C) or (B, C, H, W), got {tuple(features.shape)}")
    if not torch.is_autocast_enabled(
        features.device.type
    ):  # a teacher in half precision, or autocast's results
        features = features.to(next(head.parameters()).dtype)
    # A 1×1 convolution is the same linear layer at every position: one set of weights serves both shapes.
    return normalize(head(features.movedim(1, -1)).movedim(-1, 1))
