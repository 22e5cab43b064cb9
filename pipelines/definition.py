"""What a pipeline defines: labels, downstream trainings and evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

from torch import nn

from ..deploy import describe
from ..engine import Evaluate
from ..evaluation import AlignmentEvaluator
from ..models import Description
from ..transfer import Builder, PipelineConfig, TransferData
from .program import Downstream
from .results import DataSplits, Outputs, RunResult, Supervision, Transferred
from .runs import StudentRun, students


class Definition(ABC):
    """What a pipeline says of its data, its trainings and its evaluation; the defaults say nothing."""

    config: PipelineConfig
    data: TransferData
    builder: Builder
    class_names: tuple[str, ...] = ()
    """Names of the classes of a student's logits, as it is evaluated; their indices if absent."""

    @abstractmethod
    def supervise(self, modality: str) -> Supervision:
        """Return the labels that a network of a modality is trained with and evaluated by."""

    @abstractmethod
    def evaluate(self, run: StudentRun, transferred: Transferred, outputs: Outputs) -> RunResult:
        """Return the metrics of a student after its transfer and its downstream trainings."""

    def evaluate_frozen(self, run: StudentRun, network: nn.Module) -> dict[str, float]:
        """Return the metrics of a student before its downstream trainings, which may change it."""
        return {}

    @abstractmethod
    def data_splits(self) -> DataSplits:
        """Return the data sets of the run."""

    def students(self) -> tuple[StudentRun, ...]:
        """Return the students of the run, in the order in which they are trained."""
        return students(self.config)

    def downstream(self) -> tuple[Downstream, ...]:
        """Return the trainings that follow every transfer."""
        return ()

    def transfer_evaluate(self, deploy: Callable[[nn.Module], nn.Module]) -> Evaluate | None:
        """Return what computes metrics during the transfer, of what `deploy` makes of a student."""
        return None

    @cached_property
    def aligner(self) -> AlignmentEvaluator | None:
        """Measures the alignment of students with their teachers; None for no such metrics."""
        return None

    def teacher_metrics(self) -> list[dict[str, float]]:
        """Return the metrics of each teacher; empty for one of which nothing is known."""
        return []

    def reading(self) -> dict[str, Any]:
        """Return how files become inputs of a student: fields of `Description` that are not the default."""
        return {}

    @property
    def held_out(self) -> Any | None:
        """Samples of the student's modality that it is evaluated on; None if there are none."""
        return None

    def describe_network(self, network: nn.Module) -> Description:
        """Return what a student of this pipeline is, for its file."""
        return describe(
            network,
            architecture=self.builder.architecture,
            modality=self.data.modality,
            shape=self.data.shape(self.data.modality),
            class_names=self.class_names,
            **self.reading(),
        )
