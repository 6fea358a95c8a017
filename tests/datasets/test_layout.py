"""Wide and long tables: which column is what."""

import json
from calendar import month_abbr

import numpy as np
import pytest

from xlstm_apps.datasets import report_text


def long(names=("A", "B"), days=(3, 2), id_name="store", time="day", value="sales", extra=""):
    rows = [
        f"{n},2024-01-{d + 1:02},{i * 10 + d}{extra}"
        for i, (n, count) in enumerate(zip(names, days, strict=True))
        for d in range(count)
    ]
    return f"{id_name},{time},{value}{',note' if extra else ''}\n" + "\n".join(rows) + "\n"


def test_long_table_of_unequal_lengths(load):
    table = load(long())
    assert table.layout == "long" and [s.item_id for s in table.series] == ["A", "B"]
    assert [s.values[:, 0].tolist() for s in table.series] == [[0, 1, 2], [10, 11]]
    assert table.unique_ids() == [["A"], ["B"]] and table.channels == ["sales"]
    assert str(table.future_timestamps(1, 1)[0])[:10] == "2024-01-03"
    frame = table.to_frame()
    assert frame.columns == ["unique_id", "ds", "sales"] and frame["unique_id"].to_list() == ["A"] * 3 + ["B"] * 2


def test_series_keep_the_order_of_the_file_and_may_be_interleaved(load):
    table = load("id,time,v\nz,2024-01-01,1\na,2024-01-01,2\nz,2024-01-02,3\na,2024-01-02,4\n")
    assert table.item_ids == ["z", "a"] and table.values[:, 0].tolist() == [1, 3, 2, 4] and table.report["sorted"]


@pytest.mark.parametrize("names", ["unique_id,ds,y", "item_id,timestamp,target"])
def test_known_names(load, names):
    text = names + ",price\n1,2024-01-01,5,9\n1,2024-01-02,6,9\n2,2024-02-01,7,9\n2,2024-02-02,8,9\n"
    table = load(text)
    assert table.layout == "long" and table.item_ids == ["1", "2"] and len(table.channels) == 1
    assert "price" in table.report["left_out"]  # beside y, other columns are covariates
    both = load(text, target_columns=[names.split(",")[2], "price"])
    assert both.unique_ids()[0] == [f"1/{names.split(',')[2]}", "1/price"]


def test_series_named_na_keep_their_name(load):
    assert load(long(names=("NA", "null"))).item_ids == ["NA", "null"]


def test_two_columns_name_the_series(load):
    rows = [f"{s},{i},2024-01-{d:02},{d}" for s in "AB" for i in "xy" for d in (1, 2, 3)]
    text = "store,item,day,v\n" + "\n".join(rows) + "\n"
    assert load(text).item_ids == ["A/x", "A/y", "B/x", "B/y"]
    assert load(text, id_column="item+store").item_ids == ["x/A", "y/A", "x/B", "y/B"]


def test_integer_ids_are_proposed_not_guessed(refuses, load):
    text = "store,day,v\n" + "".join(f"{s},2024-01-{d:02},{d}\n" for s in (7, 8) for d in range(1, 9))
    refuses(text, "stamps repeat, and 'store' tells the rows apart", "--data.id_column store")
    assert load(text, id_column="store").item_ids == ["7", "8"]


def test_text_beside_one_repeated_stamp_is_no_id(refuses):
    rows = [f"2024-01-{d:02},{'sun' if d % 2 else 'rain'},{d}" for d in range(1, 20)]
    rows.insert(5, "2024-01-05,rain,9")
    refuses("day,sky,v\n" + "\n".join(rows) + "\n", "line 7: the stamp 2024-01-05", "--data.duplicates mean")


def test_a_name_of_series_that_share_few_stamps_is_proposed(refuses, load):
    rows = [f"a,2024-01-{d:02},1" for d in range(1, 21)] + [f"b,2024-{m:02}-20,2" for m in range(1, 9)]
    text = "well,day,v\n" + "\n".join(rows) + "\n"
    refuses(text, "line 22: the stamp 2024-01-20", "or name the series' column with --data.id_column well")
    assert load(text, id_column="well", freq="1d").item_ids == ["a", "b"]


@pytest.mark.parametrize(
    ("columns", "stamps", "said"),
    [
        (list(month_abbr)[1:], "{}", "look like the months"),
        ([f"{m}" for m in range(1, 13)], "{}", "look like the months"),
        (["Q1", "Q2", "Q3", "Q4"], "{}", "look like the quarters"),
        ([f"HR{h}" for h in range(1, 25)], "{}-01-01", None),
        ([f"sensor_{h}" for h in range(1, 13)], "{}", None),
    ],
)
def test_columns_that_are_parts_of_a_row_are_told(load, columns, stamps, said):
    rows = [",".join([stamps.format(year), *["1.5"] * len(columns)]) for year in range(2000, 2012)]
    notes = load("\n".join([",".join(["year", *columns]), *rows]) + "\n").report["notes"]
    assert any(said in note for note in notes) if said else not any("look like" in note for note in notes)


def test_hours_of_a_day_in_columns_are_told(load):
    rows = [",".join([f"2024-01-{d:02}", *[f"{d}.5"] * 24]) for d in range(1, 10)]
    header = ",".join(["date", *[f"{h:02}:00" for h in range(24)]])
    assert "look like the hours" in load("\n".join([header, *rows]) + "\n").report["notes"][0]


def test_a_date_in_digits_beside_an_hour(load):
    rows = [f"202401{1 + i // 24:02},{i % 24},{i}.5" for i in range(48)]
    table = load("date,hour,y\n" + "\n".join(rows) + "\n")
    assert table.freq == "1h" and str(table.timestamps[-1]) == "2024-01-02T23:00:00.000000"


def test_duplicates_inside_a_long_series_name_it(refuses):
    text = "id,time,v\n" + "".join(f"{n},2024-01-{d:02},1\n" for n in "AB" for d in range(1, 9)) + "B,2024-01-03,2\n"
    refuses(text, "line 18: the stamp 2024-01-03 00:00:00 of series 'B' is there 2 times (first: line 12)")


def test_missing_id_is_refused(refuses):
    refuses(
        "unique_id,ds,y\nA,2024-01-01,1\n,2024-01-02,1\n",
        "line 3, column 'unique_id': the name of the series is missing",
    )


def test_layout_may_be_forced(load, refuses):
    text = long(names=("A",), days=(3,))
    assert load(text).layout == "wide"  # one series: its name repeats nothing
    assert load(text, layout="long", id_column="store").item_ids == ["A"]
    refuses("time,a\n2024-01-01,1\n2024-01-02,2\n", "no column names the series", layout="long")
    refuses(long(), "is there 2 times", layout="wide")


def test_stamps_with_a_clock_win_over_dates(load):
    table = load("Date,Time,v\n2024-01-01,2024-01-01T00:00:00Z,1\n2024-01-01,2024-01-01T00:30:00Z,2\n")
    assert (
        table.report["time_column"] == "Time" and table.freq == "30m" and table.report["left_out"] == {"Date": "text"}
    )


def test_rows_layout(load, refuses):
    text = '"V1","V2","V3","V4"\n"H1","1","2","3"\n"H2","4","","6"\n"H3","7",,\n'
    table = load(text, layout="rows")
    assert [s.values[:, 0].tolist() for s in table.series][::2] == [[1, 2, 3], [7]]
    assert np.isnan(table.series[1].values[1, 0]) and table.freq == "1i" and table.unique_ids()[2] == ["H3"]
    dated = load(text, layout="rows", start="2024-01-01", freq="1h")
    assert str(dated.future_timestamps(1, 1)[0])[:13] == "2024-01-01T03"
    refuses(text.replace('"6"', '"x"'), "line 3, column 'V4': 'x' is not a number", layout="rows")
    refuses(text.replace("H2", "H1"), "line 3: the series 'H1' is there twice", layout="rows")
    refuses(text + '"H4",,,\n', "line 5: a series without a value", layout="rows")


def test_ten_thousand_short_series(load):
    stamps = [f"2024-{m:02}-01" for m in range(1, 13)]
    text = "unique_id,ds,y\n" + "".join(
        f"T{i},{s},{i + k}\n" for i in range(10_000) for k, s in enumerate(stamps[: 6 + i % 7])
    )
    table = load(text)
    assert len(table) == 10_000 and table.freq == "1mo" and table.lengths.min() == 6 and table.lengths.max() == 12
    assert table.series[9_999].values[:, 0].tolist() == list(range(9_999, 9_999 + len(table.series[9_999].values)))
    assert len(table.future_timestamps(9_999, 3)) == 3


def test_report_is_json_and_reads_well(load):
    table = load(long(extra=",fine"))
    json.dumps(table.report, allow_nan=False)
    text = report_text(table.report)
    assert (
        "5 rows, long layout" in text
        and "2 of 2 to 3 steps" in text
        and "1d (inferred)" in text
        and "note (text)" in text
    )


def test_until_is_the_table_as_it_was(load):
    table = load(long())
    cut = table.until([2, 1])
    assert [s.values[:, 0].tolist() for s in cut.series] == [[0, 1], [10]]
    assert str(cut.future_timestamps(0, 1)[0])[:10] == "2024-01-03"
    with pytest.raises(ValueError, match="one end per series"):
        table.until([4, 1])


def test_a_series_with_coarser_stamps_is_told(load):
    fine = "".join(f"A,2024-01-01 {h:02}:00,1\n" for h in range(24))
    table = load("unique_id,ds,y\n" + fine + "".join(f"B,2024-01-{d:02} 00:00,2\n" for d in range(1, 5)))
    assert table.freq == "1h" and table.report["coarser_series"] == 1
    assert any(n.startswith("1 series have stamps further apart than 1h") for n in table.report["notes"])
