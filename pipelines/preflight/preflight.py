"""Checks and estimates of a run, by its list of trainings."""

from collections.abc import Callable, Collection, Sequence

from ..program import Training
from ..workspace import Workspace
from .compiled import advise, runs_live_teachers
from .memory import check_memory
from .plan import Plan, make_plan
from .trial import check_program


class Preflight:
    """Check and estimate a run before anything is trained.

    Args:
        trainings: of the run.
        make_workspace: makes a workspace for a trial.
    """

    def __init__(self, trainings: Sequence[Training], make_workspace: Callable[[], Workspace]) -> None:
        self.trainings, self.make_workspace = trainings, make_workspace

    def of_methods(self, methods: Collection[str]) -> "Preflight":
        """Return the same for some methods; the trainings of teachers belong to each."""
        chosen = [t for t in self.trainings if t.run is None or t.method in methods]
        return Preflight(chosen, self.make_workspace)

    def check(self) -> None:
        """Check memory and disk, and take one step of every kind of training on networks thrown away.

        Raises:
            UserError: what cannot run, as of `check_memory` and `check_program`.
            OutputError: more disk than is free.
        """
        workspace = self.make_workspace()
        check_memory(self.trainings, workspace)
        check_program(self.trainings, workspace)

    def plan(self) -> Plan:
        """Return what the run has ahead, measured on a few steps of every kind of training."""
        return make_plan(self.trainings, self.make_workspace())

    def advice(self) -> list[str]:
        """Return lines about flags that would speed up this run."""
        workspace = self.make_workspace()
        transfers = [t for t in self.trainings if t.kind == "transfer" and t.method != "none"]
        config = workspace.config.transfer
        if not transfers or not runs_live_teachers(config):
            return []
        return advise(
            workspace.trial_teachers(),
            sum(training.steps for training in transfers),
            config=config,
            data=workspace.builder.data,
            accelerator=workspace.accelerator,
        )
