"""Contrastive representation distillation as a term: the heads project, the contrast keeps the memory."""

from typing import Any, Literal

from torch import Tensor, nn

from ..common import NonNegative
from ..contrast import ContrastConfig, CriticHeads, InstanceContrast
from ..models import Outputs
from .memory import DataSize, MemoryEstimate, estimated_by
from .spec import FeatureSpec
from .standardize import StandardizeMode, standardizer
from .term import MemoryLoss, Term

DEFAULTS = ContrastConfig()


class GlobalHeads(nn.Module):
    """Embeddings of both sides in the critic's space, (B, d) each."""

    reads = frozenset({"embedding"})

    def __init__(
        self, spec: FeatureSpec, embed_dim: int, *, standardize: StandardizeMode = False, **options: Any
    ) -> None:
        super().__init__()
        self.standardize = standardizer(spec.teacher.embedding, spec.num_samples, standardize)
        self.heads = CriticHeads(spec.student.embedding, spec.teacher.embedding, embed_dim, **options)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        z_s, z_t = self.heads(student.embedding, self.standardize(teacher.embedding))
        return z_s, z_t


def estimate_crd(size: DataSize, *, config: ContrastConfig = DEFAULTS, **_: Any) -> MemoryEstimate:
    """Return the memory that `crd` needs with these settings."""
    config = config.resolve(size.num_samples, has_groups=size.has_groups, prefer_other_class=size.has_labels)
    state = config.state_bytes(size.num_samples, has_groups=size.has_groups)
    is_shared = str(config.negatives).startswith("shared")
    if config.has_bank:
        what = f"memory banks, {size.num_samples} × {config.embed_dim}"
        remedy = (
            "lower crd.embed_dim, or take crd.memory_dtype=bfloat16, crd.negatives=batch, or shared "
            "negatives with crd.bank=mapped"
        )
    elif config.negatives == "queue":
        what = f"queues, {config.num_negatives} × {config.embed_dim}"
        remedy = "lower crd.num_negatives or crd.embed_dim"
    else:
        what = remedy = ""
    place: Literal["device", "host", "other"] = "device"
    if config.bank == "host":
        place = "host"
    elif is_shared and config.bank != "memory":  # a file, all ranks, or whatever has room
        place = "other"
    return MemoryEstimate(
        shared_state=state.student_bank,
        state=state.rest,
        state_place=place,
        state_what=what,
        state_remedy=remedy,
        batch=config.draw_bytes(size.batch_size),
        batch_what=f"{config.num_negatives} negatives for a batch of {size.batch_size}",
        batch_remedy="lower crd.num_negatives or the batch size, or take crd.negatives=all",
    )


@estimated_by(estimate_crd)
def make_crd(
    spec: FeatureSpec,
    *,
    weight: NonNegative = 0.8,
    config: ContrastConfig = DEFAULTS,
    head: Literal["linear", "mlp"] = "linear",
    standardize: StandardizeMode = False,
) -> Term:
    """Contrastive representation distillation of the embeddings (Tian et al., 2020).

    Args:
        spec: two networks; with labels for negatives of other classes, or groups for those of other groups.
        weight: published.
        config: settings of the contrast. With the class of every sample, the default negatives are of other
            classes, as published.
        head: "linear" or "mlp"; with objective="relational" the teacher's is linear and stays as initialized.
        standardize: contrast the teacher's features at mean 0 and variance 1 (`Standardize`), or "phi-s".
    """
    classes = spec.classes
    config = config.resolve(
        spec.num_samples, has_groups=spec.groups is not None, prefer_other_class=classes is not None
    )
    contrast = InstanceContrast(spec.num_samples, config, labels=classes, groups=spec.groups)
    learn_teacher = config.objective != "relational"
    heads = GlobalHeads(
        spec, config.embed_dim, standardize=standardize, kind=head, learn_teacher=learn_teacher
    )
    return Term(heads, MemoryLoss(contrast), weight=weight, memory_inputs=(0, 1))
