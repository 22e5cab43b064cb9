"""The student's embedding in the teacher's width."""

from torch import Tensor, nn

from ..contrast import check_positive
from ..models import Outputs


class StudentProjector(nn.Module):
    """A linear layer from the student's embedding to the teacher's width; it trains with the student.

    Args:
        student_dim: width of the student's embedding.
        teacher_dim: width of the teacher's embedding.
    """

    reads = frozenset({"embedding"})

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        check_positive(student_dim=student_dim, teacher_dim=teacher_dim)
        self.project = nn.Linear(student_dim, teacher_dim)

    def forward(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, ...]:
        """The projected embedding and the teacher's, (B, teacher_dim) each."""
        return self.project(student.embedding), teacher.embedding
