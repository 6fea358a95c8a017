"""The comparison and the error by horizon: what fits on the page, and lines that can be told apart."""

import polars as pl
import pytest

from xlstm_apps.report.forecast_scores import comparison, horizon
from xlstm_apps.report.run import Run


@pytest.fixture
def run(tmp_path):
    def made(models, **metrics):
        folder = tmp_path / "evaluation"
        folder.mkdir()
        names, errors = list(models), list(models.values())
        pl.DataFrame({"model": names, "mae": errors, **metrics}).write_csv(folder / "comparison.csv")
        steps = [{"model": m, "step": s, "mae": e + s / 100} for m, e in models.items() for s in range(1, 9)]
        pl.DataFrame(steps).write_csv(folder / "horizon.csv")
        return Run(tmp_path)

    return made


def test_errors_far_larger_wait_for_a_click(run):
    made = horizon(run({"xlstm": 1.0, "seasonal_naive": 1.3, "naive": 9.0}))
    chart = made.blocks[0]
    hidden = {trace["name"]: trace.get("visible") for trace in chart.figure["data"]}
    assert hidden == {"seasonal naive": None, "naive": "legendonly", "xLSTM": None}
    assert chart.caption.startswith("A click in the legend draws naive")


def test_a_lone_baseline_is_always_drawn(run):
    chart = horizon(run({"xlstm": 1.0, "seasonal_naive": 9.0})).blocks[0]
    assert not any("visible" in trace for trace in chart.figure["data"]) and chart.caption == ""


def test_what_ranks_as_another_column_does_is_left_out(run):
    errors = {"xlstm": 1.0, "seasonal_naive": 1.3}
    table = comparison(run(errors, rmse=[1.0, 1.3], mse=[1.0, 1.69], coverage_80=[0.8, 0.79])).blocks[0]
    assert [c.title for c in table.columns] == ["Model", "MAE", "skill", "RMSE", "in 80\N{NO-BREAK SPACE}%"]
