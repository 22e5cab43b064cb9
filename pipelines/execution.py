"""The execution of a run's trainings."""

from collections.abc import Callable, Iterable, Sequence

from torch import nn

from ..engine import Progress
from ..models import Description
from ..transfer import Teacher
from .program import TRANSFER_KINDS, Training
from .results import Outputs, Transferred
from .runs import StudentRun
from .stages.stage import History
from .workspace import Workspace


class Execution:
    """Train the stages of a run in their order, or load those that are finished.

    Args:
        trainings: of the run, as `program` lists them.
        list_trainings: students -> their trainings, for students and teachers outside that list.
        workspace: hands networks from one training to the next.
        describe: student -> its description, for its file.
    """

    def __init__(
        self,
        trainings: Sequence[Training],
        list_trainings: Callable[[Sequence[StudentRun]], Sequence[Training]],
        workspace: Workspace,
        describe: Callable[[nn.Module], Description],
    ) -> None:
        self.trainings, self.workspace, self.describe = trainings, workspace, describe
        self.list_trainings = list_trainings
        self.stages, self.builder = workspace.stages, workspace.builder
        self._teachers: list[Teacher] | None = None

    def announce(self) -> None:
        """Tell the progress which trainings are ahead."""
        self.stages.progress = Progress({training.name: training.steps for training in self.trainings})

    @property
    def teachers(self) -> list[Teacher]:
        """All teachers, trained, read or given, on the device."""
        if self._teachers is None:
            teachers = self.builder.given_teachers
            if teachers is None:
                teachers = list(self._train_teachers())
            for teacher in teachers:
                teacher.network.to(self.workspace.accelerator.device)
            self.builder.check_teachers(teachers)
            self._teachers = teachers
        return self._teachers

    def transfer(self, run: StudentRun) -> Transferred:
        """Pretrain a student and transfer to it."""
        # The teachers' training must not come between the initialization of the student and of its terms.
        teachers = [] if run.method == "none" else self.teachers
        if run.teachers is not None:
            teachers = [teachers[index] for index in run.teachers]
        self.workspace.open(run, teachers)
        self._execute(self._of(run, transfer=True))
        return self.workspace.finish_transfer(self.describe)

    def downstream(self, run: StudentRun) -> Outputs:
        """Execute the trainings that follow the transfer of the open student; return what they trained."""
        self._execute(self._of(run, transfer=False))
        return self.workspace.student.outputs

    def _of(self, run: StudentRun, *, transfer: bool) -> list[Training]:
        trainings = [training for training in self.trainings if training.run == run]
        trainings = trainings or [t for t in self.list_trainings([run]) if t.run == run]
        return [training for training in trainings if (training.kind in TRANSFER_KINDS) == transfer]

    def _train_teachers(self) -> Iterable[Teacher]:
        trainings = (*self.list_trainings(()), *self.trainings)
        by_seed = {training.seed: training for training in trainings if training.kind == "teacher"}
        config = self.builder.config.teacher
        for index in range(len(config)):
            teacher = self.workspace.add_teacher(index)
            if training := by_seed.get(config.seed + index):
                self._execute([training])
            yield teacher

    def _execute(self, trainings: Iterable[Training]) -> None:
        for training in trainings:
            self._execute_one(training)
            self.stages.progress.complete(training.name)

    def _execute_one(self, training: Training) -> None:
        stage = training.build(self.workspace)
        if stage is None:
            return
        with stage.context():
            history: History = self.stages.train(
                training.name,
                stage.task,
                stage.dataset,
                stage.train_config or training.train_config,
                training.seed,
                fingerprint=stage.fingerprint,
                evaluate=stage.evaluate,
                optimizer=stage.optimizer,
                schedule=stage.schedule,
            )
        stage.finish(history)
