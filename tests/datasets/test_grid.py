"""Frequency, gaps, duplicates, irregular stamps, resampling."""

import itertools

import numpy as np
import polars as pl
import pytest

from xlstm_apps.datasets.frequency import Frequency


def csv(stamps, values=None):
    values = range(len(stamps)) if values is None else values
    return "time,a\n" + "".join(f"{t},{v}\n" for t, v in zip(stamps, values, strict=True))


def dates(begin, end, every):
    return (
        pl.date_range(pl.lit(begin).str.to_date(), pl.lit(end).str.to_date(), every, eager=True)
        .cast(pl.String)
        .to_list()
    )


@pytest.mark.parametrize(
    "stamps, freq, after",
    [
        (
            ["2024-01-01 00:00:00.000", "2024-01-01 00:00:00.050", "2024-01-01 00:00:00.100"],
            "50ms",
            "2024-01-01T00:00:00.150",
        ),
        (["2024-01-01 00:00:00", "2024-01-01 00:00:01", "2024-01-01 00:00:02"], "1s", "2024-01-01T00:00:03"),
        (["2024-01-01 00:00", "2024-01-01 00:15", "2024-01-01 00:30"], "15m", "2024-01-01T00:45"),
        (["2024-01-01 00:00", "2024-01-01 06:00", "2024-01-01 12:00"], "6h", "2024-01-01T18:00"),
        (dates("2024-01-01", "2024-01-20", "1d"), "1d", "2024-01-21"),
        (dates("2024-01-07", "2024-03-31", "1w"), "1w", "2024-04-07"),
        (dates("2023-01-01", "2024-06-01", "1mo"), "1mo", "2024-07-01"),
        (dates("2023-01-15", "2024-06-15", "1mo"), "1mo", "2024-07-15"),
        (["2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], "1mo", "2024-05-31"),
        (["2023-01-31", "2023-02-28", "2023-04-30"], "1mo", "2023-05-31"),
        (["2023-03-31", "2023-06-30", "2023-09-30", "2023-12-31"], "1q", "2024-03-31"),
        (["2021Q1", "2021Q2", "2021Q3"], "1q", "2021-10-01"),
        (dates("2019-01-01", "2024-01-01", "1y"), "1y", "2025-01-01"),
        (dates("2004-02-29", "2012-12-31", "4y"), "4y", "2016-02-29"),
        (["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], "1mo", "2024-05-31"),
    ],
)
def test_inferred_steps(load, stamps, freq, after):
    table = load(csv(stamps))
    assert table.freq == freq
    assert table.report["freq_inferred"]
    assert table.future_timestamps(0, 3)[0] == np.datetime64(after)
    again = Frequency.parse(freq).steps(table.timestamps, table.timestamps[0], table.month_ends)
    assert again.tolist() == list(range(len(table.timestamps)))


def test_years_stay_integers(load):
    table = load("year,a\n1999,1\n2000,2\n2002,3\n")
    assert table.freq == "1y" and table.report["gaps"]["rows"] == 1
    assert table.ds(table.timestamps).to_list() == [1999, 2000, 2001, 2002]
    assert table.ds(table.future_timestamps(0, 2)).to_list() == [2003, 2004]


def test_business_days(load):
    days = [d for d in dates("2024-01-01", "2024-02-29", "1d") if np.is_busday(np.datetime64(d))]
    days.remove("2024-01-15")  # a holiday
    table = load(csv(days))
    assert (
        table.freq == "1b"
        and table.report["gaps"]["rows"] == 1
        and any("business days" in n for n in table.report["notes"])
    )
    assert table.ds(table.future_timestamps(0, 2)).cast(pl.String).to_list() == ["2024-03-01", "2024-03-04"]
    every = load(csv(days), freq="1d")
    assert len(every.values) == 60 and np.isnan(every.values).sum() == 60 - len(days)
    assert load(csv(dates("2024-01-01", "2024-01-05", "1d"))).freq == "1d"  # five days are no evidence


def test_month_of_31_days(load):
    """The 31st is the last day where a month has fewer, and comes back."""
    first = np.datetime64("2023-01-30")
    freq = Frequency.parse("1mo")
    stamps = freq.stamps(first, np.arange(4))
    assert [str(s)[:10] for s in stamps] == ["2023-01-30", "2023-02-28", "2023-03-30", "2023-04-30"]
    assert freq.steps(stamps, first).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "text, as_text",
    [("1h", "1h"), ("60min", "1h"), ("H", "1h"), ("15T", "15m"), ("15m", "15m"), ("D", "1d"), ("7d", "1w"),
     ("M", "1mo"), ("MS", "1mo"), ("QE", "1q"), ("Y", "1y"), ("B", "1b"), ("30s", "30s"), ("3mo", "1q"),
     ("100ms", "100ms"), ("i", "1i"), ("90m", "90m"), ("W-SUN", "1w")],
)  # fmt: skip
def test_parse(text, as_text):
    assert str(Frequency.parse(text)) == as_text


@pytest.mark.parametrize("text", ["", "hourly", "0h", "-1h", "1x", "1h30m"])
def test_parse_refuses(text):
    with pytest.raises(ValueError, match="is no frequency"):
        Frequency.parse(text)


def test_gaps_become_rows_of_nan(load):
    table = load(csv(["2024-01-01", "2024-01-02", "2024-01-05", "2024-01-06", "2024-01-08"]))
    assert table.freq == "1d"
    np.testing.assert_array_equal(table.values[:, 0], np.float32([0, 1, np.nan, np.nan, 2, 3, np.nan, 4]))
    gaps = table.report["gaps"]
    assert gaps == {"rows": 3, "runs": 2, "longest": 2, "first": {"after": "2024-01-02 00:00:00", "rows": 2}}
    assert table.report["rows"] == 5 and table.report["grid_rows"] == 8


def test_unsorted_rows_are_sorted_and_told(load):
    table = load(csv(["2024-01-03", "2024-01-01", "2024-01-02"]))
    assert table.values[:, 0].tolist() == [1, 2, 0] and not table.report["sorted"]
    assert any("not in order" in n for n in table.report["notes"])
    assert load(csv(["2024-01-01", "2024-01-02"])).report["sorted"]


def test_duplicates(load, refuses):
    text = csv(
        ["2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03", "2024-01-03", *dates("2024-01-04", "2024-01-20", "1d")]
    )
    refuses(
        text,
        "sales.csv line 4: the stamp 2024-01-02 00:00:00 is there 2 times (first: line 3); 2 rows in all",
        "--data.duplicates mean",
    )
    for policy, expected in (("first", [0, 1, 3, 5]), ("last", [0, 2, 4, 5]), ("mean", [0, 1.5, 3.5, 5])):
        table = load(text, duplicates=policy)
        assert table.values[:4, 0].tolist() == expected
        assert table.report["duplicates"] == {"rows": 2, "policy": policy}


def test_mean_of_duplicates_leaves_missing_out(load):
    text = csv(["2024-01-01", "2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03"], [1, "", "", "", 3])
    np.testing.assert_array_equal(load(text, duplicates="mean").values[:, 0], np.float32([1, np.nan, 3]))


def test_irregular_stamps_are_refused_with_their_steps(refuses, load):
    minutes = np.cumsum([0, 7, 13, 5, 11, 3, 17, 9, 2, 23, 8, 14])
    text = csv([f"2024-01-01 {m // 60:02}:{m % 60:02}" for m in minutes])
    refuses(text, "steps between stamps are irregular", "--data.freq 10m --data.resample mean")
    table = load(text, freq="30m", resample="mean")
    assert table.freq == "30m" and table.report["resampled"] == "mean over 30m"
    groups = {k: [i for i, _ in g] for k, g in itertools.groupby(enumerate(minutes), key=lambda p: p[1] // 30)}
    np.testing.assert_allclose(table.values[:, 0], [np.mean(groups[k]) for k in sorted(groups)], rtol=1e-6)


def test_a_stamp_off_the_grid_is_never_rounded(refuses, load):
    stamps = [f"2024-01-01 {h:02}:00" for h in range(24)]
    stamps[5] = "2024-01-01 05:02"
    stamps += [f"2024-01-02 {h:02}:00" for h in range(24)]
    refuses(
        csv(stamps),
        "sales.csv line 7: 2024-01-01 05:02:00 lies off the 1h grid (1 of 48 stamps do)",
        "--data.off_grid drop",
    )
    table = load(csv(stamps), off_grid="drop")
    assert np.flatnonzero(np.isnan(table.values[:, 0])).tolist() == [5] and table.report["off_grid"]["rows"] == 1
    stamps[0] = "2024-01-01 00:01"  # the first stamp is the odd one: the others set the grid
    table = load(csv(stamps), off_grid="drop")
    assert str(table.timestamps[0])[:16] == "2024-01-01T01:00" and len(table.values) == 47


def test_resample(load, refuses):
    stamps = [f"2024-01-{d:02} {h:02}:00" for d in (1, 2, 4) for h in range(24)]
    values = list(range(72))
    values[0] = ""
    for how, first in (
        ("sum", sum(range(24))),
        ("mean", sum(range(24)) / 23),
        ("min", 1),
        ("max", 23),
        ("first", 1),
        ("last", 23),
    ):
        table = load(csv(stamps, values), freq="1d", resample=how)
        assert table.freq == "1d" and table.values[0, 0] == pytest.approx(first) and np.isnan(table.values[2, 0])
    month = load(csv(stamps, values), freq="1mo", resample="sum")
    assert month.values[:, 0].tolist() == [sum(range(72))]
    refuses(csv(stamps), "does not go with business days", freq="1b", resample="sum")
    with pytest.raises(ValueError, match=r"needs data.freq"):
        load(csv(stamps), resample="sum")


def test_resample_by_day_follows_the_wall_clock(load):
    hours = np.arange("2023-03-24T23", "2023-03-27T22", dtype="datetime64[h]")  # three Berlin days, one of 23 hours
    table = load(
        "time,a\n" + "".join(f"{h}:00Z,1\n" for h in hours), freq="1d", resample="sum", time_zone="Europe/Berlin"
    )
    assert table.values[:, 0].tolist() == [24, 23, 24]
    assert [str(t)[:16] for t in table.ds(table.timestamps)] == [
        "2023-03-25 00:00",
        "2023-03-26 00:00",
        "2023-03-27 00:00",
    ]


def test_a_stamp_far_away_does_not_explode_the_grid(refuses):
    stamps = [f"2024-01-01 00:{m:02}:{s:02}" for m in range(10) for s in range(60)] + ["2124-01-01 00:00:00"]
    refuses(csv(stamps), "line 602: the stamp 2124-01-01 00:00:00 lies 36,524 days after", "mend the stamp")


def test_one_row_needs_a_frequency(refuses, load):
    refuses("time,a\n2024-01-01,1\n", "no series has two rows", "--data.freq")
    assert load("time,a\n2024-01-01,1\n", freq="1d").freq == "1d"


def test_asked_frequency_that_does_not_fit(refuses):
    refuses(
        csv(["2024-01-01 00:00", "2024-01-01 00:30", "2024-01-01 01:00"]), "line 3", "lies off the 1h grid", freq="1h"
    )


def test_suspicious_sentinel_is_told_not_removed(load):
    text = csv(dates("2024-01-01", "2024-01-20", "1d"), [*range(1, 20), -9999])
    table = load(text)
    assert table.values[-1, 0] == -9999
    assert table.report["suspicious"] == {"a": {"value": -9999.0, "count": 1}}
    assert any("--data.missing_values '[-9999]'" in n for n in table.report["notes"])
    assert np.isnan(load(text, missing_values=[-9999]).values[-1, 0])
    assert load(csv(dates("2024-01-01", "2024-01-20", "1d"), range(-999, -979))).report["suspicious"] == {}


def test_constant_column_is_kept_and_told(load):
    table = load("time,a,b\n2024-01-01,1,5\n2024-01-02,2,5\n")
    assert table.channels == ["a", "b"] and "constant columns: b" in table.report["notes"]
