"""The rows of results.json of an ensemble run."""

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from crdkit.pipelines import RunResult
from crdkit.reports import ensemble


def result(method: str, seed: int, **more: Any) -> RunResult:
    return RunResult(method, seed, {"top1": 0.5 + 0.1 * seed, "best_top1": 0.7}, [], nn.Identity(), **more)


def test_a_row_of_an_ensemble_has_the_errors_of_all_numbers() -> None:
    config: Any = SimpleNamespace(teachers=(1, 2))
    runs = [
        result("none", 1, subset_seed=1),
        result("kd", 1, subset_seed=7, teachers=(3,)),
        result("kd", 1, subset_seed=7, teachers=(3, 0)),
        result("kd", 1, subset_seed=8, teachers=(2,)),
    ]
    alone, both, one = ensemble.rows(config, runs)
    assert alone["metrics"]["error_1"] == alone["metrics"]["error_2"] == pytest.approx(0.4)
    assert both["subset_seed"] == 7 and {"error_1", "error_2", "best_error_2"} <= set(both["metrics"])
    assert not any(name.startswith("ema_") for name in both["metrics"])
    averaged = result("kd", 1, subset_seed=7, teachers=(3,))
    averaged.metrics.update(ema_top1=0.75, best_ema_top1=0.8)
    (row,) = ensemble.rows(config, [averaged])
    assert (row["metrics"]["ema_error_1"], row["metrics"]["best_ema_error_1"]) == pytest.approx((0.25, 0.2))
    assert one["subset_seed"] == 8 and "error_2" not in one["metrics"]
    assert [ensemble.name_of(done) for done in runs[:3]] == ["none", "kd, 1 teacher", "kd, 2 teachers"]
    titles = [column.title for column in ensemble.columns_of(config.teachers)]
    assert titles[:4] == ["1 teacher", "2 teachers", "best 1 teacher", "best 2 teachers"]
    assert titles[4:] == [f"{kind} {n}" for kind in ("EMA", "best EMA") for n in ("1 teacher", "2 teachers")]
