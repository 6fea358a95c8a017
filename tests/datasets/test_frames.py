"""pandas and polars frames."""

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from xlstm_apps.datasets import table_from_frame

DAYS = pd.date_range("2024-01-01", periods=6, freq="D")


def wide(**more):
    return pd.DataFrame({"ds": DAYS, "a": np.arange(6.0), "b": np.arange(6) * 2, **more})


def check(table):
    np.testing.assert_array_equal(table.values, np.column_stack([np.arange(6), np.arange(6) * 2]).astype("float32"))
    assert table.channels == ["a", "b"] and table.freq == "1d" and table.time_zone is None
    assert table.timestamps[0] == np.datetime64("2024-01-01") and table.report["source"] == "the frame"


FRAMES = {
    "pandas": wide(),
    "index": wide().set_index("ds"),
    "nameless index": wide().drop(columns="ds").set_index(DAYS),
    "period index": wide().drop(columns="ds").set_index(DAYS.to_period("D")),
    "nanoseconds": wide(ds=DAYS.astype("datetime64[ns]")),
    "seconds": wide(ds=DAYS.astype("datetime64[s]")),
    "text stamps": wide(ds=DAYS.astype(str)),
    "dates": wide(ds=[d.date() for d in DAYS]),
    "python datetimes": wide(ds=pd.Series([d.to_pydatetime() for d in DAYS], dtype=object)),
    "nullable integers": wide(b=pd.array(np.arange(6) * 2, dtype="Int64")),
    "float32 and int8": wide(a=np.arange(6, dtype="float32"), b=(np.arange(6) * 2).astype("int8")),
    "objects": wide(a=pd.Series([0, 1, 2.0, 3, 4, 5], dtype=object)),
    "numbers as text": wide(a=[f"{i}.0" for i in range(6)]),
    "category beside": wide(c=pd.Categorical(list("aabbaa"))),
    "flag beside": wide(c=[True, False] * 3),
    "odd index": wide().set_index(pd.Index([7, 7, 1, 3, 3, 3])),
    "polars": pl.from_dict({"ds": pl.Series(DAYS.to_numpy()), "a": np.arange(6.0), "b": np.arange(6) * 2}),
    "lazy": pl.from_dict({"ds": pl.Series(DAYS.to_numpy()), "a": np.arange(6.0), "b": np.arange(6) * 2}).lazy(),
    "polars dates": pl.from_dict(
        {"day": pl.Series(DAYS.to_numpy()).cast(pl.Date), "a": np.arange(6.0), "b": np.arange(6) * 2}
    ),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_frames_say_the_same(frame):
    check(table_from_frame(frame))


def test_arrow_types():
    pytest.importorskip("pyarrow", reason="needs PyArrow")
    frame = wide().astype({"a": "float64[pyarrow]", "b": "int64[pyarrow]", "ds": "timestamp[us][pyarrow]"})
    check(table_from_frame(frame))
    assert table_from_frame(wide(c=pd.array(list("aabbaa"), dtype="string"))).report["left_out"] == {"c": "text"}


def test_frame_is_not_changed():
    frame = wide(c=pd.Categorical(list("abcabc"))).iloc[::-1]
    before = frame.copy(deep=True)
    table = table_from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)
    table.values[:] = -1
    pd.testing.assert_frame_equal(frame, before)
    values = np.arange(6.0)
    polars = pl.DataFrame({"ds": pl.Series(DAYS.to_numpy()), "a": values})
    table_from_frame(polars).values[:] = -1
    assert polars["a"].to_list() == list(range(6)) and values.tolist() == list(range(6))


def long(**more):
    return pd.DataFrame({"unique_id": list("AAABBB"), "ds": [*DAYS[:3], *DAYS[:3]], "y": range(6), **more})


CHANGES = [
    lambda f: f,
    lambda f: f.astype({"unique_id": "category"}),
    lambda f: f.set_index(["unique_id", "ds"]),
    lambda f: f.set_index("unique_id"),
    lambda f: f.rename(columns={"unique_id": "item_id", "ds": "timestamp", "y": "target"}),
    lambda f: pl.from_dict({c: f[c].to_list() for c in f}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_long_frames(change):
    table = table_from_frame(change(long()))
    assert table.item_ids == ["A", "B"] and table.values[:, 0].tolist() == list(range(6)) and table.layout == "long"


def test_integer_ids():
    table = table_from_frame(long().assign(unique_id=[7, 7, 7, 8, 8, 8]))
    assert table.item_ids == ["7", "8"]


def test_names_by_argument():
    frame = long().rename(columns={"unique_id": "shop", "ds": "when", "y": "sold"})
    table = table_from_frame(frame, id_column="shop", time_column="when", target_columns=["sold"], freq="D")
    assert table.item_ids == ["A", "B"] and table.channels == ["sold"]


def test_time_zones():
    frame = wide(ds=pd.date_range("2024-03-30", periods=6, freq="D", tz="Europe/Berlin"))
    table = table_from_frame(frame)
    assert table.time_zone == "Europe/Berlin" and table.freq == "1d"
    assert table.ds(table.timestamps).to_list() == [t.to_pydatetime() for t in frame["ds"]]
    fixed = wide(ds=pd.date_range("2024-03-30", periods=6, freq="h", tz=dt.timezone(dt.timedelta(hours=2))))
    assert table_from_frame(fixed).timestamps[0] == np.datetime64("2024-03-29T22:00")
    polars = pl.DataFrame({"ds": pl.Series(DAYS.to_numpy()).dt.replace_time_zone("UTC"), "a": range(6)})
    assert table_from_frame(polars).time_zone == "UTC"


def test_missing_values():
    table = table_from_frame(
        wide(a=[1, None, np.nan, 4, -9, 6], b=pd.array([1, 2, None, 4, 5, 6], dtype="Int64")), missing_values=[-9]
    )
    assert np.isnan(table.values[:, 0]).tolist() == [False, True, True, False, True, False] and np.isnan(
        table.values[2, 1]
    )


def test_integer_steps():
    table = table_from_frame(pd.DataFrame({"ds": [3, 4, 5, 7], "y": range(4)}))
    assert (
        table.freq == "1i"
        and table.ds(table.timestamps).to_list() == [3, 4, 5, 6, 7]
        and table.report["gaps"]["rows"] == 1
    )
    assert table_from_frame(wide().drop(columns="ds"), time_column="none").freq == "1i"


@pytest.mark.parametrize(
    "frame, parts",
    [
        (wide(a=[1, 2, "x", 4, 5, 6]), ["the frame row 2, column 'a': 'x' is not a number", "missing_text=['x']"]),
        (wide(a=[1, 2, np.inf, 4, 5, 6]), ["the frame row 2, column 'a': inf is infinite"]),
        (wide(ds=[*DAYS[:5], pd.NaT]), ["the frame row 5, column 'ds': the stamp is missing"]),
        (
            wide(ds=[*DAYS[:5], DAYS[0]]),
            ["the frame row 5: the stamp 2024-01-01 00:00:00 is there 2 times", "duplicates='mean'"],
        ),
        (wide().drop(columns="ds"), ["no column holds dates or times", "time_column='NAME'"]),
        (wide().iloc[:0], ["the frame has no rows"]),
        (wide().rename(columns={"b": "a"}), ["two columns named 'a'"]),
        ({"a": [1]}, ["a pandas or polars frame is needed, not dict"]),
    ],
)
def test_bad_frames(frame, parts):
    with warnings.catch_warnings(), pytest.raises(ValueError) as caught:
        table_from_frame(frame)
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    assert "--data" not in str(caught.value)


def test_unknown_option():
    with pytest.raises(TypeError, match="colour"):
        table_from_frame(wide(), colour="red")


def test_parquet(tmp_path):
    from xlstm_apps.datasets import SeriesData, load_table

    path = tmp_path / "a.parquet"
    stamps = pl.Series(DAYS.to_numpy()).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    pl.DataFrame(
        {"when": stamps, "shop": pl.Series(list("aaabbb"), dtype=pl.Categorical), "v": range(6)}
    ).write_parquet(path)
    table = load_table(SeriesData(path=str(path), id_column="shop"))
    assert table.time_zone == "Asia/Tokyo" and table.item_ids == ["a", "b"] and table.freq == "1d"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        load_table(SeriesData(path=str(path)))


def test_columns_that_hold_neither_numbers_nor_text():
    frame = pl.DataFrame({"ds": DAYS.to_numpy(), "y": [1.5] * len(DAYS)})
    for odd, said in (
        (pl.concat_list("y"), "'y': text, such as 'List'"),
        (pl.struct("y"), "'y': text, such as 'Struct'"),
        (pl.duration(hours=pl.col("y")), "'y': text, such as '1h"),
        (pl.lit(b"1"), "'y': text, such as 'Binary'"),
    ):
        with pytest.raises(ValueError, match=said):
            table_from_frame(frame.with_columns(y=odd))
        assert table_from_frame(frame.with_columns(z=odd.alias("z"))).channels == ["y"]


@pytest.mark.parametrize("aware", [0, 1])
def test_stamps_of_which_some_have_an_offset_are_refused(aware):
    zone = dt.timezone(dt.timedelta(hours=5))
    stamps = [dt.datetime(2024, 1, 1 + i, tzinfo=zone if i % 2 == aware else None) for i in range(6)]
    with pytest.raises(ValueError, match=f"row {1 - aware}, column 'ds': .* has no UTC offset, other stamps have one"):
        table_from_frame(pd.DataFrame({"ds": pd.Series(stamps, dtype=object), "y": range(6)}))
