"""How long the rest of a command takes."""

import pytest

from crdkit.engine import Course, in_words
from crdkit.engine import course as course_module

STAGES = {
    "teachers/rgb-seed-0": 10,
    "runs/a/seed-0/transfer": 20,
    "runs/b/seed-0/transfer": 30,
    "runs/b/seed-0/x": 5,
}


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch) -> Course:
    """One whose trainings take all of the time."""
    made = Course(STAGES)
    monkeypatch.setattr(course_module.time, "monotonic", lambda: made.begun + made.trained)
    return made


def test_what_is_known_of_a_kind_holds_for_the_rest_of_it(course: Course) -> None:
    assert course.left("teachers/rgb-seed-0", 0, None) is None
    # Before anything else is known, all are as fast as the one that runs.
    assert course.left("teachers/rgb-seed-0", 5, 2.0) == pytest.approx(2 * (5 + 20 + 30 + 5))
    course.observe("teachers/rgb-seed-0", 10, 20.0)
    course.pass_by("teachers/rgb-seed-0")
    assert course.left("runs/a/seed-0/transfer", 10, 1.0) == pytest.approx(1 * (10 + 30) + 2 * 5)
    course.observe("runs/a/seed-0/transfer", 20, 40.0)
    course.pass_by("runs/a/")
    # The usual speed is 60 s over 30 steps.
    assert course.left("runs/b/seed-0/transfer", 0, None) == pytest.approx(2 * 30 + 2 * 5)
    assert course.left("somewhere else", 0, 1.0) is None


def test_what_lies_between_trainings_counts(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    course.observe("runs/a/seed-0/transfer", 20, 40.0)
    monkeypatch.setattr(course_module.time, "monotonic", lambda: course.begun + 80.0)
    course.pass_by("runs/a/", "teachers/")
    assert course.left("runs/b/seed-0/x", 5, 1.0) == pytest.approx(2 * 30 * 2)


def test_a_stage_of_another_seed_stays_ahead() -> None:
    course = Course({"runs/a/seed-1/transfer": 1, "runs/a/seed-10/transfer": 1})
    course.pass_by("runs/a/seed-1/transfer")
    assert course.ahead == {"runs/a/seed-10/transfer": 1} and course.total == 2


def test_durations_in_words() -> None:
    assert [in_words(s) for s in (0.4, 89, 150, 3600, 12000)] == [
        "0 s",
        "89 s",
        "2 min",
        "1 h 0 min",
        "3 h 20 min",
    ]
