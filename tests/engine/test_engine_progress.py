"""How long the rest of a command takes."""

import pytest

from crdkit.engine import Progress, in_words
from crdkit.engine import progress as progress_module

STAGES = {
    "teachers/rgb-seed-0": 10,
    "runs/a/seed-0/transfer": 20,
    "runs/b/seed-0/transfer": 30,
    "runs/b/seed-0/x": 5,
}


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> Progress:
    """One whose trainings take all of the time."""
    made = Progress(STAGES)
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: made.begun + made.trained_seconds)
    return made


def test_what_is_known_of_a_kind_holds_for_the_rest_of_it(progress: Progress) -> None:
    assert progress.remaining_seconds("teachers/rgb-seed-0", 0, None) is None
    # Before anything else is known, all are as fast as the one that runs.
    assert progress.remaining_seconds("teachers/rgb-seed-0", 5, 2.0) == pytest.approx(2 * (5 + 20 + 30 + 5))
    progress.observe("teachers/rgb-seed-0", 10, 20.0)
    progress.complete("teachers/rgb-seed-0")
    assert progress.remaining_seconds("runs/a/seed-0/transfer", 10, 1.0) == pytest.approx(
        1 * (10 + 30) + 2 * 5
    )
    progress.observe("runs/a/seed-0/transfer", 20, 40.0)
    progress.complete("runs/a/")
    # The usual speed is 60 s over 30 steps.
    assert progress.remaining_seconds("runs/b/seed-0/transfer", 0, None) == pytest.approx(2 * 30 + 2 * 5)
    assert progress.remaining_seconds("somewhere else", 0, 1.0) is None


def test_what_lies_between_trainings_counts(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    progress.observe("runs/a/seed-0/transfer", 20, 40.0)
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: progress.begun + 80.0)
    progress.complete("runs/a/", "teachers/")
    assert progress.remaining_seconds("runs/b/seed-0/x", 5, 1.0) == pytest.approx(2 * 30 * 2)


def test_a_stage_of_another_seed_remains() -> None:
    progress = Progress({"runs/a/seed-1/transfer": 1, "runs/a/seed-10/transfer": 1})
    progress.complete("runs/a/seed-1/transfer")
    assert progress.remaining == {"runs/a/seed-10/transfer": 1} and progress.total == 2


def test_durations_in_words() -> None:
    assert [in_words(s) for s in (0.4, 89, 150, 3600, 12000)] == [
        "0 s",
        "89 s",
        "2 min",
        "1 h 0 min",
        "3 h 20 min",
    ]
