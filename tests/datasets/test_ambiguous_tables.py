"""Tables that would be read wrongly without a word: each is read right, or refused in one line that says the mend."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from xlstm_apps.datasets import SeriesData, table_from_frame

DAYS = pd.date_range("2024-01-01", periods=40)


def table(values, separator=";"):
    rows = zip(DAYS.strftime("%Y-%m-%d"), values, strict=False)
    return f"ds{separator}y\n" + "".join(f"{d}{separator}{v}\n" for d, v in rows)


@pytest.mark.parametrize(("cells", "thousands"), [(["998", "1.002", "-1.013"], ","), (["998", "1,002", "-1,013"], ".")])
def test_a_mark_that_may_group_thousands_has_to_be_told(load, refuses, cells, thousands):
    refuses(table(cells), "column 'y'", f"--data.decimal {thousands}")
    np.testing.assert_array_equal(load(table(cells), decimal=thousands).values[:, 0], [998, 1002, -1013])
    other = "," if thousands == "." else "."
    np.testing.assert_allclose(load(table(cells), decimal=other).values[:, 0], [998, 1.002, -1.013], rtol=1e-6)


def test_decimals_of_three_digits_are_no_thousands(load, refuses):
    quoted = load(table(['"0,126"', '"1,640"', '"2,113"'], ","))
    np.testing.assert_allclose(quoted.values[:, 0], [0.126, 1.64, 2.113], rtol=1e-6)
    assert load(table(["100", "1.5", "1.002"])).values[2, 0] == np.float32(1.002)
    refuses(table(["0.126", "1.640"]), "'0.126' is not a number", decimal=",")


def test_series_are_not_merged_by_the_name_that_joins_their_cells(refuses):
    rows = "".join(f"{'x/y,z' if i < 20 else 'x,y/z'},{d:%Y-%m-%d},{i}\n" for i, d in enumerate(DAYS))
    refuses("a,b,ds,y\n" + rows, "a+b", "'x/y/z'", id_column="a+b")


@pytest.mark.parametrize("options", [{}, {"stream": True}])
def test_values_finer_than_32_bits_are_refused(refuses, load, options):
    counts = 12345678.9 + 0.1 * np.arange(40)
    rows = "".join(f"{n},{d:%Y-%m-%d},{v}\n" for n, x in (("a", counts - 12345678), ("meter", counts)) for d, v in
                   zip(DAYS, x, strict=True))  # fmt: skip
    refuses("unique_id,ds,y\n" + rows, "'meter'", "12345678.9", "change by 0.1", **options)
    assert load(table(np.where(np.arange(40) == 5, 1e30, 0.1))).report["suspicious"]["y"]["value"] == 1e30
    load(table([2**53 + 1] * 40))  # a constant has no changes to lose


def test_sums_of_part_of_a_step_are_told(load):
    found = load(table(range(40)), freq="1w", resample="sum")
    assert any("too small" in note for note in found.report["notes"])
    whole = load(table(range(35)), freq="1w", resample="sum")
    assert not any("too small" in note for note in whole.report["notes"])


def test_messages_name_the_file_and_the_title(refuses):
    assert refuses('ds,y\n2024-01-01,1\n2024-01-02,"2\n', "quote").startswith("sales.csv line 3")
    refuses("My sales\n" + table(range(5), ","), "title")


def test_a_column_with_a_name_of_the_frame(load):
    found = load("date,ds\n" + "".join(f"{d:%Y-%m-%d},{i}\n" for i, d in enumerate(DAYS)))
    with pytest.raises(ValueError, match="named 'ds'"):
        found.to_frame()


def test_lists_given_as_one_name():
    with pytest.raises(ValueError, match=r"past_covariates is a list, such as \['temp'\], not 'temp'"):
        SeriesData(path="x", past_covariates="temp")


def test_levels_without_names_and_columns_of_objects():
    y = np.arange(40.0)
    index = pd.MultiIndex.from_product([["a", "b"], DAYS])
    found = table_from_frame(pd.DataFrame({"y": np.tile(y, 2)}, index=index))
    assert found.item_ids == ["a", "b"] and found.freq == "1d"
    odd = table_from_frame(pd.DataFrame({"ds": DAYS, "y": y, "z": y + 1j}))
    assert odd.channels == ["y"] and odd.report["left_out"] == {"z": "text"}
    assert table_from_frame(pl.DataFrame({"ds": DAYS.to_list(), "y": y})).channels == ["y"]


def german(*values: str) -> str:
    return "Datum;Umsatz\n" + "".join(f"{i + 1:02}.01.2024;{v}\n" for i, v in enumerate(values))


def test_points_in_german_numbers_alone_are_asked_about(load, refuses):
    text = german("1.234", "12.345", "2.001")
    refuses(text, "column 'Umsatz': 1.234 may be 1234 or 1.234: set --data.decimal ,", "or --data.decimal . if")
    assert load(text, decimal=",").values.ravel().tolist() == [1234, 12345, 2001]
    refuses(german("1.234.567", "1.234"), "'1.234.567' is not a number", "set --data.decimal ,")
    assert load(german("1.234", "0.345", "2.001")).values[1, 0] == np.float32(0.345)
    assert load(german("1.234", "1.5", "2.001")).values[1, 0] == 1.5


@pytest.mark.parametrize("separator", ["\t", "|", None])
def test_commas_in_thousands_are_asked_about(load, separator):
    cells = ["1,234", "12,345", "987,001", "2,000"]

    def read(other=("1", "2", "3", "4"), **options):
        frame = pd.DataFrame({"date": DAYS[:4].strftime("%Y-%m-%d"), "v": cells, "w": other})
        if separator is None:
            return table_from_frame(frame, **options).values[:, 0].tolist()
        return load(frame.to_csv(sep=separator, index=False), **options).values[:, 0].tolist()

    with pytest.raises(ValueError, match=r"column 'v': 1,234 may be 1234 or 1\.234: set .*decimal"):
        read()
    assert read(decimal=".") == [1234, 12345, 987001, 2000]
    assert read(decimal=",") == [np.float32(float(c.replace(",", "."))) for c in cells]
    assert read(("1.5", "2", "3", "4")) == [1234, 12345, 987001, 2000]
    assert read(("1,5", "2", "3", "4"))[0] == np.float32(1.234)
    assert read(("1,234,567", "2", "3", "4")) == [1234, 12345, 987001, 2000]


def test_points_beside_decimal_commas_group_thousands(load):
    rows = "".join(f"2024-01-{i:02};{i}.125;{i},5\n" for i in range(1, 9))
    assert load("date;a;b\n" + rows).values[1].tolist() == [2125, 2.5]


def test_names_that_look_like_comments_are_not_left_out(refuses, load):
    rows = [f"{name},2024-01-{i:02},{i}\n" for name in ("#1", "2") for i in range(1, 9)]
    refuses("id,date,v\n" + "".join(rows), "line 2: 8 lines among the rows begin with #", "in quotes")
    quoted = "id,date,v\n" + "".join(rows).replace("#1", '"#1"')
    assert load(quoted, id_column="id").item_ids == ["#1", "2"]
    few = load("date,v\n" + "".join(f"{'#' * (i == 5)}2024-01-{i:02},{i}\n" for i in range(1, 20)))
    assert few.report["gaps"]["rows"] == 1
    assert "1 lines among the rows begin with # and were left out as comments" in few.report["notes"]


@pytest.mark.parametrize(
    ("names", "cells", "second", "freq"),
    [
        ("year,quarter", lambda i: f"{2020 + i // 4},{i % 4 + 1}", "2020-04-01", "1q"),
        ("Jahr,Quartal", lambda i: f"{2020 + i // 4},Q{i % 4 + 1}", "2020-04-01", "1q"),
        ("year,week", lambda i: f"2021,{i + 1}", "2021-01-11", "1w"),
        ("Jahr,KW", lambda i: f"2021,KW{i + 1:02}", "2021-01-11", "1w"),
        ("Jahr,Monat", lambda i: f"{2020 + i // 12},{i % 12 + 1}", "2020-02-01", "1mo"),
    ],
)
def test_a_year_and_a_part_of_it_in_two_columns(load, names, cells, second, freq):
    table = load(f"{names},v\n" + "".join(f"{cells(i)},{i}\n" for i in range(20)))
    assert str(table.timestamps[1])[:10] == second and table.freq == freq
    assert len(table) == 1 and table.channels == ["v"]


def test_all_spellings_of_a_missing_value_are_named_at_once(refuses, load):
    cells = ["1", "-", "3", "k.A.", "n.a.", "6", "#DIV/0!", "7", "8", "-", "9", "10"]
    text = "date,v\n" + "".join(f"2024-01-{i + 1:02},{c}\n" for i, c in enumerate(cells))
    message = refuses(text, "line 3, column 'v': '-' is not a number (3 such cells")
    assert """all that stand for a missing value: --data.missing_text '["-", "k.A."]'""" in message
    assert np.isnan(load(text, missing_text=["-", "k.A."]).values).sum() == 5


@pytest.mark.parametrize("cell", ["$1,100.50", "5 %", "1 100", "1'100.50", "7 €", "USD 7", "\u22127"])
def test_numbers_with_signs_are_told_where_they_are_left_out(load, cell):
    text = "date,a,b\n" + "".join(f'2024-01-{i:02},{i},"{cell}"\n' for i in range(1, 9))
    assert load(text).report["left_out"] == {"b": "numbers with signs or blanks; take those out to forecast it"}


def test_names_and_notes_are_text(load):
    text = "date,a,b,c\n" + "".join(f"2024-01-{i:02},{i},SKU-{i},A12\n" for i in range(1, 9))
    assert load(text).report["left_out"] == {"b": "text", "c": "text"}


def test_a_total_at_the_end_has_to_go(refuses):
    refuses("date,v\n2024-01-01,1\n2024-01-02,2\nTotal,3\n", "line 4, column 'date': 'Total'", "a total", "remove it")


def test_an_empty_target_is_not_replaced_by_what_stands_beside_it(refuses):
    rows = "".join(f"{name},2024-01-{i:02},,{i}\n" for name in "ab" for i in range(1, 9))
    refuses("unique_id,ds,y,price\n" + rows, "column 'y'", "no cell of the target holds a value")


@pytest.mark.parametrize(("step", "form"), [("h", "%Y%m%d%H"), ("min", "%Y%m%d%H%M"), ("s", "%Y%m%d%H%M%S")])
def test_dates_with_a_clock_as_integers(step, form):
    stamps = pd.date_range("2024-01-30", periods=60, freq=step)
    for column in (stamps.strftime(form), stamps.strftime(form).astype(np.int64)):
        table = table_from_frame(pd.DataFrame({"when": column, "y": range(60)}), time_column="when")
        assert (table.timestamps == stamps.to_numpy()).all() and table.time_zone is None


@pytest.mark.parametrize("form", ["%y%m%d", "%Y%j"])
def test_shortened_dates_are_asked_about(form):
    frame = pd.DataFrame({"date": DAYS.strftime(form).astype(np.int64), "y": range(40)})
    with pytest.raises(ValueError, match=f"look like .*time_format='{form}'"):
        table_from_frame(frame)
    assert (table_from_frame(frame, time_format=form).timestamps == DAYS.to_numpy()).all()


@pytest.mark.parametrize("stamp", ["1899-12-30", "2204-01-01"])
def test_a_stamp_far_from_few_others_is_a_mistake(stamp):
    stamps = sorted([*DAYS[:39], pd.Timestamp(stamp)])
    with pytest.raises(ValueError, match=r"days after the one before it.* mend the stamp"):
        table_from_frame(pd.DataFrame({"ds": stamps, "y": range(40)}))


@pytest.mark.parametrize("kind", ["dates and times", "dates and hours", "stamps and hours", "text"])
def test_the_clock_in_a_column_of_its_own(kind):
    stamps = pd.date_range("2024-01-01", periods=96, freq="h")
    midnight, y = stamps.normalize(), range(96)
    frame = {
        "dates and times": pl.DataFrame({"date": list(stamps.date), "time": list(stamps.time), "y": y}),
        "dates and hours": pl.DataFrame({"date": list(stamps.date), "hour": stamps.hour.tolist(), "y": y}),
        "stamps and hours": pd.DataFrame({"ds": midnight, "Hour": stamps.hour, "y": y}),
        "text": pd.DataFrame({"Datum": stamps.strftime("%d.%m.%Y"), "Uhrzeit": stamps.strftime("%H:%M"), "y": y}),
    }[kind]
    table = table_from_frame(frame)
    assert (table.timestamps == stamps.to_numpy()).all() and table.channels == ["y"]


def test_a_start_is_for_rows_without_stamps(refuses, load):
    counted = "t,v\n" + "".join(f"{i},{i}\n" for i in range(9))
    refuses(counted, "--data.start 2020-01-01 and --data.time_column none", freq="1d")
    refuses(counted, "the stamps are in 't', so nothing starts at 2024-01-01", freq="1d", start="2024-01-01")
    read = load("v\n" + "".join(f"{i}\n" for i in range(9)), freq="1d", start="2024-01-01", time_column="none")
    assert str(read.timestamps[0])[:10] == "2024-01-01"


def test_months_are_proposed_where_steps_are_about_one():
    ends = pd.date_range("2020-01-31", periods=40, freq="BME")
    with pytest.raises(ValueError, match="for example freq='1mo' resample='mean'"):
        table_from_frame(pd.DataFrame({"ds": ends, "y": range(40)}))
