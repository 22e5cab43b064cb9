"""Former flags go on working: one warning, today's names, one list of settings."""

import os
import subprocess
import sys
import warnings

import pytest

from crdkit.experiments.flags import current

LAB = ["--teacher.modality", "l", "--student-modality", "ab"]


def settings(*values: str) -> list[str]:
    return ["--setting", *values]


ROWS = [
    ("compress.py", ["--train.epochs", "3"], ["--transfer.train.epochs", "3"]),
    ("ensemble.py", ["--train.epochs", "3"], ["--transfer.train.epochs", "3"]),
    ("compress.py", ["--train.learning-rate", "0.1"], ["--transfer.train.lr", "0.1"]),
    ("compress.py", ["--teacher.train.learning-rate", "0.1"], ["--teacher.train.lr", "0.1"]),
    ("teacher.py", ["--train.learning-rate", "0.1"], ["--train.lr", "0.1"]),
    ("crossmodal.py", ["--finetune.learning-rate", "0.1"], ["--finetune.lr", "0.1"]),
    ("compress.py", ["--student-rate", "0.1"], ["--student-lr", "0.1"]),
    ("ensemble.py", ["--student-rate", "0.1"], ["--student-lr", "0.1"]),
    ("ensemble.py", ["--draw", "2", "3"], ["--subset-seed", "2", "3"]),
    ("ensemble.py", ["--members.number", "2"], ["--teacher.number", "2"]),
    ("ensemble.py", ["--members.weights", "a", "b"], ["--teacher.weights", "a", "b"]),
    ("ensemble.py", ["--members.train.learning-rate", "0.1"], ["--teacher.train.lr", "0.1"]),
    ("ensemble.py", ["--views", "4"], ["--transfer.cached-augmentations", "4"]),
    ("ensemble.py", ["--cache", "x"], ["--transfer.cache", "x"]),
    ("ensemble.py", ["--reduction", "mean"], ["--transfer.reduction", "mean"]),
    ("ensemble.py", ["--share-student"], ["--transfer.share-student"]),
    ("ensemble.py", ["--no-share-student"], ["--transfer.no-share-student"]),
    ("crossmodal.py", ["--transfer.views", "4"], ["--transfer.cached-augmentations", "4"]),
    ("crossmodal.py", ["--data.teacher-view", "rgb"], ["--teacher.modality", "rgb"]),
    ("crossmodal.py", ["--data.teacher-modality", "rgb"], ["--teacher.modality", "rgb"]),
    ("crossmodal.py", ["--data.student-view", "thermal"], ["--student-modality", "thermal"]),
    ("crossmodal.py", ["--data.student-modality", "thermal"], ["--student-modality", "thermal"]),
    ("crossmodal.py", ["--views", "l:rgb"], ["--teacher.modality", "l", "--student-modality", "rgb"]),
    ("crossmodal.py", ["--reverse"], ["--teacher.modality", "ab", "--student-modality", "l"]),
    ("crossmodal.py", ["--no-reverse"], LAB),
    (
        "crossmodal.py",
        ["--reverse", "--views", "l:rgb"],
        ["--teacher.modality", "rgb", "--student-modality", "l"],
    ),
    *(
        (
            "crossmodal.py",
            [f"--transfer.{flag}", value],
            settings(*(f"{method}.{name}={value}" for method in ("crd", "crd-local", "crd-dense"))),
        )
        for flag, name, value in (
            ("temperature", "temperature", "0.2"),
            ("embed-dim", "embed_dim", "64"),
            ("objective", "objective", "infonce"),
            ("crd-weight", "weight", "0.5"),
        )
    ),
    *(
        ("crossmodal.py", [f"--transfer.{flag}", value], settings(f"{setting}={value}"))
        for flag, setting, value in (
            ("num-negatives", "crd.num_negatives", "64"),
            ("momentum", "crd.momentum", "0.9"),
            ("negatives", "crd.negatives", "shared"),
            ("queue-size", "crd-dense.queue_size", "16"),
            ("num-positions", "crd-dense.num_positions", "8"),
            ("global-queue-size", "crd-local.queue_size", "32"),
            ("kd-temperature", "kd.temperature", "4"),
            ("kd-weight", "kd.weight", "2"),
            ("at-weight", "at.weight", "10"),
            ("fitnet-weight", "fitnet.weight", "10"),
        )
    ),
]


@pytest.mark.parametrize(("script", "former", "today"), ROWS)
def test_former_flag_is_todays(script: str, former: list[str], today: list[str]) -> None:
    with pytest.warns(DeprecationWarning, match=former[0]) as told:
        assert current(script, ["--cpu", *former]) == ["--cpu", *today]
    assert len(told) == 1
    underscored = [former[0].replace("-", "_").replace("__", "--"), *former[1:]]
    with pytest.warns(DeprecationWarning):
        assert current(script, underscored) == today
    if len(former) == 2:
        with pytest.warns(DeprecationWarning):
            assert current(script, ["=".join(former)]) == today


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("teacher.py", ["--train.epochs", "3", "--data.root=a=b"]),
        ("crossmodal.py", ["--transfer.train.lr", "-1", "--teacher.modality", "rgb", "-h"]),
        ("crossmodal.py", ["--views", "3"]),  # neither now nor then: left for tyro to refuse
        ("compress.py", ["--method", "crd+0.5*kd", "none", "--tsne", "--setting", "kd.temperature=2"]),
        ("ensemble.py", ["stray", "--teachers"]),
    ],
)
def test_todays_flags_are_left_alone(script: str, arguments: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current(script, arguments) == arguments


def test_settings_from_everywhere_are_one_list_in_their_order() -> None:
    given = [
        "--setting",
        "kd.temperature=2",
        "--transfer.momentum=0.9",
        "--cpu",
        "--setting=crd.momentum=0.8",
    ]
    with pytest.warns(DeprecationWarning) as told:
        found = current("crossmodal.py", given)
    assert found == ["--cpu", "--setting", "kd.temperature=2", "crd.momentum=0.9", "crd.momentum=0.8"]
    assert len(told) == 1


def test_sizes_of_single_modalities_are_one_mapping() -> None:
    given = [
        "--data.size",
        "96",
        "128",
        "--data.size.rgb",
        "224",
        "224",
        "--cpu",
        "--data.size.depth=48",
        "64",
    ]
    wanted = ["--data.size", "96", "128", "--cpu", "--data.sizes", "rgb", "224", "224", "depth", "48", "64"]
    assert current("crossmodal.py", given) == wanted


def test_a_person_sees_the_warning_once() -> None:
    code = (
        "from crdkit.experiments.flags import current;"
        "print(current('ensemble.py', ['--views', '2', '--draw', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.count("DeprecationWarning") == 1 and "--subset-seed" in done.stderr
    second = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "RANK": "1"}
    )
    assert second.stdout == done.stdout and not second.stderr
    quiet = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert quiet.stdout == done.stdout and not quiet.stderr
