"""The list of trainings: a pure function, and the only place where a stage has to be added."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pytest
import torch

from crdkit.compression import CompressionConfig, CompressionPipeline
from crdkit.data import ImagesConfig, ImageSplits, load_splits
from crdkit.engine import SupervisedTask, TrainConfig, digest, make_accelerator
from crdkit.ensemble import EnsembleConfig
from crdkit.ensemble.pipeline import ensemble_students
from crdkit.pipelines import (
    Downstream,
    Sizes,
    Stage,
    StudentRun,
    Training,
    Workspace,
    program,
    stage_folder,
)
from crdkit.pipelines.preflight.trial import trials
from crdkit.transfer import TeachersConfig, TransferConfig

ONE = TrainConfig(epochs=1, batch_size=8, lr=0.01)
CONFIG = CompressionConfig(
    method=("none", "kd", "ab+kd"),
    setting=("ab.epochs=2",),
    seed=(0, 1),
    student="resnet8",
    cpu=True,
    data=ImagesConfig("digits", classes=3),
    teacher=TeachersConfig(architecture=("resnet8",), train=ONE),
    transfer=TransferConfig(train=ONE),
)


@pytest.fixture(scope="module")
def digits() -> ImageSplits:
    images = load_splits(CONFIG.data, torch.device("cpu"))
    return replace(images, train=images.train.subset(range(16)), test=images.test.subset(range(8)))


def build(workspace: Workspace) -> Stage:
    raise AssertionError("listing builds nothing")


def test_every_training_is_listed_once_in_the_order_of_execution() -> None:
    downstream = [Downstream("probe", 20, replace(ONE, epochs=3), build)]
    trainings = program(CONFIG, Sizes(16, is_labeled=True, supervised=16), downstream=downstream)
    assert [training.name for training in trainings] == [
        "teachers/rgb-seed-0",
        *(
            f"runs/{method}/seed-{seed}/{stage}"
            for seed in (0, 1)
            for method, stages in (
                ("none", ("transfer", "probe")),
                ("kd", ("transfer", "probe")),
                ("ab+kd", ("pretrain-ab", "transfer", "probe")),
            )
            for stage in stages
        ),
    ]
    steps = {training.label: training.steps for training in trainings}
    assert steps == {
        "teacher resnet8-0": 2,
        "none transfer": 2,
        "kd transfer": 2,
        "ab+kd pretrain-ab": 4,
        "ab+kd transfer": 2,
        "probe": 9,
    }


def test_what_is_not_trained_is_not_listed() -> None:
    given = program(CONFIG, Sizes(16, is_labeled=False, supervised=None))
    assert {training.method for training in given} == {"kd", "ab+kd"}  # no labels: `none` trains nothing
    alone = program(replace(CONFIG, method=("none",)), Sizes(16, is_labeled=True, supervised=16))
    assert {training.kind for training in alone} == {"transfer"}
    brief = program(replace(CONFIG, setting=("ab.epochs=0",)), Sizes(16, is_labeled=True))
    assert {training.kind for training in brief} == {"transfer"}


def test_an_ensemble_has_a_student_for_each_number_of_teachers() -> None:
    config = EnsembleConfig(method=("none", "crd"), seed=(3,), teachers=(1, 2), subset_seed=(5, 6))
    runs = ensemble_students(config, 8)
    assert [stage_folder(run) for run in runs] == [
        "runs/none/seed-3",
        *(f"runs/crd/teachers-{n}/draw-{draw}/seed-3" for draw in (5, 6) for n in (1, 2)),
    ]
    assert runs[2].teachers is not None and runs[1].teachers == runs[2].teachers[:1]
    pool = program(replace(config, teachers=()), Sizes(16, is_labeled=True, supervised=16), runs=())
    assert [training.kind for training in pool] == ["teacher"] * 8


class WithFineTuning(CompressionPipeline):
    """A stage more after every transfer; nothing else is changed."""

    @cached_property
    def program(self) -> tuple[Training, ...]:
        more = [
            Training(
                stage_folder(training.run, "finetune"),
                "finetune",
                training.method,
                training.seed,
                16,
                replace(ONE, epochs=5),
                self.finetune_stage,
                "finetune",
                training.run,
            )
            for training in super().program
            if training.kind == "transfer" and training.run is not None
        ]
        return (*super().program, *more)

    def finetune_stage(self, workspace: Workspace) -> Stage:
        state = workspace.student
        return Stage(
            SupervisedTask(state.network, self.images.augment),
            self.images.train,
            fingerprint={"student": digest(state.network.state_dict())},
            finish=state.keep_output("finetune", state.network),
        )


def test_a_stage_that_is_added_to_the_program_is_found_everywhere(
    digits: ImageSplits, tmp_path: Path
) -> None:
    config = replace(CONFIG, method=("none", "kd"), keep="all")
    plain = CompressionPipeline(config, digits, make_accelerator(cpu=True), tmp_path / "plain")
    one = WithFineTuning(config, digits, make_accelerator(cpu=True), tmp_path / "more")
    tried = [trial.training.label for trial in trials(one.program, one.workspace(trial=True))]
    assert tried.count("finetune") == 1

    plan, without = one.preflight.plan(), plain.preflight.plan()
    (planned,) = [training for training in plan.trainings if training.label == "finetune"]
    assert (planned.count, planned.steps) == (4, 10)
    assert plan.disk_bytes - without.disk_bytes == 4 * planned.disk_bytes > 0

    ahead: list[int] = []
    one.execution.announce()
    ahead.append(sum(one.stages.progress.remaining.values()))
    plain.execution.announce()
    ahead.append(sum(plain.stages.progress.remaining.values()))
    assert ahead[0] - ahead[1] == 4 * 10

    before = {r.method: digest(r.network.state_dict()) for r in plain.runs() if r.seed == 0}
    results = [result for result in one.runs() if result.seed == 0]
    for result in results:
        assert digest(result.network.state_dict()) != before[result.method]  # 5 epochs more
        history = tmp_path / "more" / stage_folder(StudentRun(result.method, 0), "finetune") / "history.json"
        assert history.exists()
    assert not one.stages.progress.remaining
