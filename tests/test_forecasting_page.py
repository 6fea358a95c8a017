"""The page of the forecasting benchmark says what its rows say, names what is missed, and is the committed one."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import forecasting  # noqa: E402
import forecasting_page  # noqa: E402
from forecasting_rows import Comparison, Duel, Number, Results  # noqa: E402

PUBLISHED = forecasting.read(forecasting.PUBLISHED)
HORIZONS = (96, 192, 336, 720)


def row(model, seed=0, horizon=96, mse=0.4, mae=0.4, dataset="ETTh1", **more):
    shares = {"coverage_80": 0.8, "coverage_95": 0.95, "coverage_80_raw": 0.7}
    facts = {"context": 336, "parameters": 1000, "fit_seconds": 12.3, "evaluate_seconds": 1, "device": "a GPU"}
    numbers = {"dataset": dataset, "horizon": horizon, "model": model, "seed": seed, "mse": mse, "mae": mae}
    return {key: str(v) for key, v in {**shares, **facts, **numbers, "torch": "2", **more}.items()}


def rows(model, errors, seeds=(0,), **more):
    return [row(model, s, h, mse=e, mae=e, **more) for s in seeds for h, e in zip(HORIZONS, errors, strict=True)]


def line(text, start):
    return next(x for x in text.splitlines() if x.startswith(start))


def test_numbers_carry_their_spread_over_seeds():
    assert Number.of([0.396, 0.398, 0.400]).text() == "0.398(2)"
    assert Number.of([0.398]).text() == "0.398"
    assert Number.of([]) is None and Number.of([float("nan")]) is None
    assert Number.of([0.352, 0.398, 0.414, 0.429]).text()[:5] == "0.398"
    assert Number(0.4185).text() == "0.419"


def test_the_mean_is_of_the_seeds_that_have_every_horizon():
    made = [*rows("xlstm-ens", [0.1, 0.2, 0.3, 0.4], seeds=(0,)), row("xlstm-ens", 1, 96, mse=9)]
    assert Results(made).at("ETTh1", None, "xlstm-ens", "mse").mean == pytest.approx(0.25)
    assert Results(made).at("ETTh1", 96, "xlstm-ens", "mse").mean == pytest.approx(4.55)
    assert Results(made[1:]).at("ETTh1", None, "xlstm-ens", "mse") is None


@pytest.mark.parametrize(
    ("mine", "other", "text"),
    [
        (Number(0.36), Number(0.40), "-10.0 %"),
        (Number(0.44), Number(0.40), "**+10.0 %**"),
        (Number(0.40), Number(0.40), "**≈ +0.0 %**"),
        (Number(0.396, 0.006), Number(0.400, 0.006), "≈ -1.0 %"),
        (Number(0.396, 0.001), Number(0.400, 0.001), "-1.0 %"),
    ],
)
def test_a_difference_says_whether_it_is_one(mine, other, text):
    assert Duel(mine, other).text() == text


def test_wins_and_misses_are_named():
    made = rows("xlstm-ens", [0.36, 0.39, 0.41, 0.42], seeds=(0, 1, 2)) + rows("patchtst", [0.3] * 4)
    text = forecasting_page.page(made, PUBLISHED)
    assert line(text, "- **ETTh1**").startswith(
        "- **ETTh1**: not below PatchTST, trained here (MSE 0.395(0) against 0.300, MAE 0.395(0) against 0.300). "
        "Below DUET in 7 of 8 cells"
    )
    assert "Not known: iTransformer, trained here; NLinear, trained here; last value; seasonal naive." in text
    cells = [cell.strip() for cell in line(text, "| ETTh1 ").split("|")]
    assert cells[2:5] == ["0.395(0) / 0.395(0)", "-0.8 % / -5.6 %", "-5.6 % / -9.4 %"]
    made = rows("xlstm-ens", [0.36, 0.39, 0.41, 0.42]) + rows("p-slstm", [0.3] * 4) + rows("dlinear", [0.5] * 4)
    missed = line(forecasting_page.page(made, PUBLISHED), "- **ETTh1**")
    assert "p-slstm, trained here (MSE 0.395 against 0.300" in missed and "dlinear" not in missed


def test_bold_is_the_lowest_of_what_is_fair():
    made = rows("xlstm-ens", [0.1, 0.5, 0.5, 0.5]) + rows("naive", [2.0] * 4)
    published = [
        {"dataset": "ETTh1", "horizon": h, "model": m, "mse": e, "mae": e, "source": "s", "protocol": p}
        for h in HORIZONS
        for m, e, p in (("DUET", "0.2", "fair"), ("xLSTMTime", "0.01", "checkpoint chosen on test"))
    ]
    table = forecasting_page.page(made, published).partition("## ETTh1\n")[2]
    assert line(table, "| **xlstm-ens** ").startswith("| **xlstm-ens** | **0.100** / **0.100** | 0.500 / 0.500 |")
    assert line(table, "| DUET ").startswith("| DUET | 0.200 / 0.200 | **0.200** / **0.200** |")
    unfair = line(table, "| xLSTMTime ")
    assert "**" not in unfair and unfair.endswith("| published, checkpoint chosen on test |")


def test_coverage_outside_three_points_is_named():
    made = [*rows("xlstm-ens", [0.4] * 4), row("xlstm-ens", 0, 96, dataset="Weather", coverage_80=0.841)]
    text = line(forecasting_page.page(made, PUBLISHED), "- **Coverage**")
    assert text.endswith("outside at Weather 96 (80 %: 84.1 %); inside everywhere else.")
    assert "inside everywhere." in forecasting_page.page(made[:4], PUBLISHED)


def test_what_is_not_there_is_called_missing():
    text = forecasting_page.page([], PUBLISHED)
    assert "Nothing trained on: ETTh1, ETTh2, ETTm1" in text and "not measured." in text
    made = [row("xlstm-ens", 0, 96), row("xlstm-ens", 0, 192), row("xlstm-ens", 1, 96)]
    text = forecasting_page.page(made, [])
    assert "Fewer than 3 seeds: xlstm-ens (2 at 96, 1 at 192, 0 at 336, 0 at 720)." in text
    assert "- ETTh1: not measured: xlstm-mixer, xlstm-time, p-slstm, itransformer, patchtst, dlinear, nlinear." in text
    assert line(text, "| **xlstm-ens** ").endswith("**0.400** / **0.400** | - | - | - | trained here |")
    whole = [x for m in forecasting_page.TRAINED for x in rows(m, [0.4] * 4, seeds=(0, 1, 2))]
    assert "- ETTh1" not in forecasting_page.page(whole, PUBLISHED)


def test_m4_has_its_own_errors():
    made = [row("xlstm-ens", s, 48, dataset="M4 Hourly", mase=0.9, smape=11, owa=0.5) for s in (0, 1)]
    made += [row("naive2", "", 48, dataset="M4 Hourly", mase=2.4, smape=18.4, owa=1, coverage_80="nan", coverage_95="")]
    table = forecasting_page.page(made, PUBLISHED).partition("## M4 Hourly\n")[2]
    assert (
        line(table, "| **xlstm-ens** ") == "| **xlstm-ens** | 0.900(0) | 11.000(0) | 0.500(0) | 80.0 % | 95.0 % | 2 |"
    )
    assert line(table, "| Naive2 ") == "| Naive2 | 2.400 | 18.400 | 1.000 | - | - | - |"


# Means over the horizons as printed elsewhere than the rows: a slip in copying a row would show.
MEANS = {
    ("ETTh1", "DUET", "fair"): (0.398, 0.419),
    ("ETTm1", "DUET", "fair"): (0.338, 0.369),
    ("Weather", "DUET", "fair"): (0.218, 0.252),
    ("ETTh1", "PatchTST", "fair"): (0.419, 0.436),
    ("ETTm1", "PatchTST", "fair"): (0.349, 0.381),
    ("Weather", "PatchTST", "fair"): (0.224, 0.262),
    ("Exchange", "PatchTST", "fair"): (0.351, 0.399),
    ("ETTh1", "xLSTMTime", "checkpoint chosen on test"): (0.408, 0.428),
    ("ETTh2", "xLSTMTime", "checkpoint chosen on test"): (0.346, 0.386),
    ("ETTm1", "xLSTMTime", "checkpoint chosen on test"): (0.347, 0.372),
    ("ETTm2", "xLSTMTime", "checkpoint chosen on test"): (0.254, 0.310),
    ("Weather", "xLSTMTime", "checkpoint chosen on test"): (0.222, 0.255),
    ("ETTh1", "xLSTM-Mixer", "look-back and settings searched"): (0.397, 0.420),
    ("ETTh2", "xLSTM-Mixer", "look-back and settings searched"): (0.340, 0.382),
    ("ETTm1", "xLSTM-Mixer", "look-back and settings searched"): (0.339, 0.366),
    ("ETTm2", "xLSTM-Mixer", "look-back and settings searched"): (0.248, 0.307),
    ("Weather", "xLSTM-Mixer", "look-back and settings searched"): (0.219, 0.250),
}


@pytest.mark.parametrize("which", MEANS)
def test_published_rows_have_their_published_means(which):
    dataset, model, protocol = which
    results = Comparison([], PUBLISHED).published[protocol]
    means = [results.at(dataset, None, model, metric).mean for metric in ("mse", "mae")]
    assert means == pytest.approx(MEANS[which], abs=6e-4)


def test_published_rows_are_complete_and_marked():
    known = {
        "fair", "checkpoint chosen on test", "look-back and settings searched", "settings per horizon",
        "test windows dropped", "test windows dropped; look-back and settings searched",
    }  # fmt: skip
    assert {r["protocol"] for r in PUBLISHED} == known and all(r["source"] for r in PUBLISHED)
    keys = [(r["dataset"], r["horizon"], r["model"], r["protocol"]) for r in PUBLISHED]
    assert len(set(keys)) == len(keys)
    fair = {"PatchTST", "iTransformer", "DLinear", "NLinear", "TimeMixer", "PDF", "DUET"}
    for dataset, source in forecasting.SOURCES.items():
        for horizon in source.horizons if dataset != "M4 Hourly" else ():
            assert {k[2] for k in keys if k[:2] == (dataset, str(horizon)) and k[3] == "fair"} == fair
    for protocol in known:
        for name in protocol.split("; "):
            assert f"- **{name}**: " in forecasting_page.TOP


def test_the_committed_page_is_what_the_committed_rows_render(tmp_path):
    forecasting_page.render(forecasting.read(forecasting.RESULTS), PUBLISHED, tmp_path / "page.md")
    same = (tmp_path / "page.md").read_text("utf-8") == forecasting.PAGE.read_text("utf-8")
    assert same, "write it anew: python benchmarks/forecasting.py --render"
