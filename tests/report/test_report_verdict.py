"""What the report says of a model: the truth, also when it is unwelcome."""

import csv
import json

import pytest

from xlstm_apps.report.run import Run
from xlstm_apps.report.scores import Scores


@pytest.fixture
def compared(run):
    """A run folder whose comparison has the rows given."""

    def make(*rows, header=("model", "mae", "rmse", "mase", "wql", "coverage"), **options):
        folder = run(**options)
        with (folder / "evaluation" / "comparison.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return folder

    return make


def verdict(folder) -> tuple[str, str]:
    sentence, tone = Scores.read(Run(folder)).verdict()
    return sentence.replace("\xa0", " "), tone


def test_a_model_that_loses_says_so(run, read):
    report = read(run(skill=-0.27))
    assert "27 % above seasonal naive: the model loses" in report.text
    assert "The model loses to a baseline." in report.text
    assert "MAE (3.86 against 3.04)" in report.text
    assert "Use seasonal naive and NLinear rather than this model." in report.text


def test_beating_seasonal_naive_is_not_enough(compared, read):
    folder = compared(
        ["xlstm", 2, 3, 0.9, 0.05, 0.8], ["seasonal_naive", 3, 4, 1.2, 0.08, ""], ["nlinear", 1.5, 2, 0.7, 0.06, ""]
    )
    assert verdict(folder) == ("MAE 2.00, 33 % below seasonal naive, but 33 % above NLinear", "bad")
    report = read(folder)
    assert "behind NLinear in MAE (2.00 against 1.50) and MASE" in report.text
    assert "Its quantiles are better (WQL) than those of NLinear." in report.text


def test_worse_in_mase_alone_is_a_warning(compared, read):
    folder = compared(["xlstm", 2, 3, 1.3, 0.05, 0.8], ["seasonal_naive", 3, 4, 1.2, 0.08, ""])
    assert verdict(folder) == ("MAE 2.00, 33 % below seasonal naive", "good")
    assert (
        "The model is not better in everything. It is behind seasonal naive in MASE (1.30 against 1.20)"
        in read(folder).text
    )


def test_as_good_as_the_baseline_is_not_good(compared, read):
    folder = compared(["xlstm", 2.99, 4, 1.2, 0.08, 0.8], ["seasonal_naive", 3, 4, 1.2, 0.08, ""])
    assert verdict(folder) == ("MAE 2.99, no better than seasonal naive (3.00)", "bad")
    assert "The model is no better than a baseline." in read(folder).text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["xlstm", "nan", "", "", "", ""], ["seasonal_naive", 3, 4, 1, 1, ""]], "its MAE is not a number"),
        (
            [["xlstm", "inf", "inf", "", "", ""], ["seasonal_naive", 3, 4, 1, 1, ""]],
            "∞ % above seasonal naive: the model loses",
        ),
        ([["xlstm", 2, 3, 1, 1, 0.8]], "no baseline beside it"),
        ([["xlstm", 2, 3, 1, 1, 0.8], ["seasonal_naive", 0, 0, 0, 0, ""]], "no baseline beside it"),
        ([["xlstm", 2, 3, 1, 1, 0.8], ["naive", 4, 4, 2, 2, ""]], "50 % below naive"),
    ],
)
def test_odd_comparisons(compared, read, rows, words):
    folder = compared(*rows)
    assert words in verdict(folder)[0]
    assert "comparison" in read(folder).sections


def test_ours_is_the_model_that_the_run_names(compared):
    rows = [["seasonal_naive", 3, 4, 1, 1, ""], ["xlstm-ens", 2, 3, 1, 1, 0.8], ["xlstm-ens", 9, 9, 9, 9, 0.1]]
    folder = compared(*rows)
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, "model": "xlstm-ens"}))
    scores = Scores.read(Run(folder))
    assert (scores.ours, scores.reference, scores.value("xlstm-ens", "mae")) == ("xlstm-ens", "seasonal_naive", 2.0)


def test_best_is_marked_lowest_error_and_nearest_coverage(compared, read):
    folder = compared(["xlstm", 2, 3, 0.9, 0.05, 0.95], ["seasonal_naive", 3, 2, 1.2, 0.08, 0.79])
    scores = Scores.read(Run(folder))
    assert scores.nominal == 0.8
    assert [scores.best(m) for m in ("mae", "rmse", "coverage")] == [{0}, {1}, {1}]
    table = read(folder).text.partition("Errors on the held-out test part")[2].partition("Best value")[0]
    assert "2.00 (best) +33 % 3.00 0.900 (best)" in table and "79.0 % (best)" in table


def test_calibration_in_words(run, read):
    folder = run()
    for low, high, words in ((0.1, 0.9, "as it should"), (0.2, 0.8, "too narrow"), (0.02, 0.99, "too wide")):
        (folder / "evaluation" / "calibration.csv").write_text(f"quantile,empirical\n0.1,{low}\n0.9,{high}\n")
        assert words in read(folder).text
    (folder / "evaluation" / "calibration.csv").write_text("quantile,empirical\n0.1,0.1\n0.5,0.379\n0.9,0.9\n")
    assert "as it should. Furthest off is the 0.5 quantile, with 37.9 % of the truth below it" in read(folder).text


def test_training_in_words(run, read):
    folder = run()
    assert "The weights of epoch 8 were kept, which has the lowest validation loss" in read(folder).text
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, "best_epoch": 12}))
    assert "more epochs could help" in read(folder).text
    (folder / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n1,10,0.5,\n12,20,0.4,\n")
    assert "no validation loss to choose by" in read(folder).text


WEIRD = [None, [], "x", -1, 10**400, [None], {"a": None}, [[1, 2]], {"a": {"b": {}}}]


@pytest.mark.parametrize("name", ["run.json", "data_summary.json"])
def test_no_value_in_json_breaks_the_page(run, read, name):
    folder = run(names=["a/b"], cutoffs=1, history=4, horizon=2)
    facts = json.loads((folder / name).read_text())
    for weird in [*WEIRD, float("nan"), float("inf")]:
        task = {"task": "forecast"} if name == "run.json" else {}
        (folder / name).write_text(json.dumps({**dict.fromkeys(facts, weird), **task}))
        assert {"forecasts", "comparison", "data", "run"} <= {*read(folder).sections}
        if name == "data_summary.json":
            nested = {k: dict.fromkeys(v, weird) if isinstance(v, dict) else [weird] for k, v in facts.items()}
            (folder / name).write_text(json.dumps(nested))
            read(folder)


@pytest.mark.parametrize("table", ["comparison", "horizon", "series", "calibration", "forecasts", "residuals"])
@pytest.mark.parametrize("cell", ["", "nan", "inf"])
def test_no_cell_of_a_table_breaks_the_page(run, read, table, cell):
    folder = run(names=["a/b", "a/c"], cutoffs=1, history=4, horizon=2)
    path = folder / "evaluation" / f"{table}.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    for column in range(len(rows[0])):
        changed = [rows[0]] + [[*row[:column], cell, *row[column + 1 :]] for row in rows[1:]]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(changed)
        read(folder)


def test_many_baselines_stay_apart(run, read):
    folder = run(horizon=6)
    others = ["naive", "auto_ets", "dlinear", "patchtst", "itransformer", "p-slstm", "a <b>long</b> name " * 9]
    for name, cells in {"comparison": 5, "horizon": 4}.items():
        path = folder / "evaluation" / f"{name}.csv"
        rows = list(csv.reader(path.read_text().splitlines()))
        for place, other in enumerate(others):
            copies = [row for row in rows[1:] if row[0] == "nlinear"]
            rows += [[other, *([row[1]] if cells == 4 else []), *["9" + str(place)] * 2] + [""] * 6 for row in copies]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([row[: len(rows[0])] for row in rows])
    report = read(folder)
    assert "Better than all 9 others at 6 of 6 steps." in report.text
    assert "4 models with larger errors left out; evaluation/horizon.csv has all." in report.text
    chart = next(f for f in report.data if f.get("layout", {}).get("yaxis", {}).get("title", {}).get("text") == "MAE")
    looks = {(trace["line"]["color"], trace["line"]["dash"]) for trace in chart["data"]}
    assert len(looks) == len(chart["data"]) == 6


def test_covariates_are_listed_with_when_they_are_known(run, read):
    folder = run()
    path = folder / "data_summary.json"
    facts = json.loads(path.read_text())
    used = {
        "past": ["wind"], "known": ["price", "holiday"], "static": ["<i>region</i>"], "calendar": True,
        "categories": {"holiday": 11, "<i>region</i>": 1}, "holidays": "holiday",
    }  # fmt: skip
    ranges = {"wind": {"missing_share": 0.02, "min": 0, "max": 360, "mean": 180}, "price": {"missing_share": 0.0}}
    path.write_text(json.dumps({**facts, "covariates": used, "covariate_columns": ranges, "future_rows": 72}))
    words = read(folder).text.partition("Covariates the model is given")[2]
    assert "wind up to the cutoff number 2.0 % 0 180 360" in words
    assert "holiday ahead holidays, 11 categories" in words and "<i>region</i> always 1 category" in words
    assert "calendar ahead from the stamps" in words
    path.write_text(json.dumps({**facts, "covariates": {key: [] for key in used}}))
    assert "Covariates the model" not in read(folder).text


def test_coverage_of_a_share_is_judged_by_it(compared, read):
    header = ("model", "mae", "coverage", "coverage_80", "coverage_95", "coverage_95_raw")
    rows = [["xlstm", 2, 0.81, 0.81, 0.99, 0.7], ["seasonal_naive", 3, 0.7, 0.7, 0.96, ""]]
    scores = Scores.read(Run(compared(*rows, header=header)))
    assert scores.metrics == ["mae", "coverage_80", "coverage_95"]
    assert [scores.best(m) for m in ("coverage_80", "coverage_95")] == [{0}, {1}]
    assert scores.intervals == [(0.8, 0.81, None), (0.95, 0.99, 0.7)]
    assert (
        "95 % interval 99.0 % of the truth inside; 70.0 % before calibration"
        in read(Run(compared(*rows, header=header)).path).text
    )
