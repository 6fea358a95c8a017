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
