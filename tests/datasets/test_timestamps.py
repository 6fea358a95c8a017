"""Stamps in every spelling, time zones and daylight saving."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest

from xlstm_apps.datasets.delimited import Origin
from xlstm_apps.datasets.timestamps import looks_like_stamps, read_stamps
from xlstm_apps.datasets.zones import to_local, to_utc

ORIGIN = Origin("f.csv", lines=np.arange(2, 1000))


def read(*cells, time_format=None, name="time"):
    return read_stamps(pl.Series(name, list(cells)), ORIGIN, time_format)


@pytest.mark.parametrize(
    "cells, expected, kind",
    [
        (["2013-01-02 03:04:05"], "2013-01-02T03:04:05", "datetime"),
        (["2013-1-2 3:04"], "2013-01-02T03:04", "datetime"),
        (["2013/01/02T03:04"], "2013-01-02T03:04", "datetime"),
        (["2013.01.02 03"], "2013-01-02T03:00", "datetime"),
        (["2013-01-02 03:04:05.25"], "2013-01-02T03:04:05.25", "datetime"),
        (["2013-01-02 03:04:05,000001"], "2013-01-02T03:04:05.000001", "datetime"),
        (["2013-01-01 24:00"], "2013-01-02T00:00", "datetime"),
        (["2013-01-02"], "2013-01-02", "date"),
        (["20130102"], "2013-01-02", "date"),
        (["20130102T0304"], "2013-01-02T03:04", "datetime"),
        (["31/12/2013"], "2013-12-31", "date"),
        (["12/31/2013 1:05 PM"], "2013-12-31T13:05", "datetime"),
        (["12/31/2013 12:05 AM"], "2013-12-31T00:05", "datetime"),
        (["02.01.2013 03:04"], "2013-01-02T03:04", "datetime"),
        (["2013-01"], "2013-01-01", "date"),
        (["2013M02"], "2013-02-01", "date"),
        (["01/2013"], "2013-01-01", "date"),
        (["2013Q3"], "2013-07-01", "date"),
        (["2013-Q3"], "2013-07-01", "date"),
        (["2 Jan 2013 03:04"], "2013-01-02T03:04", "datetime"),
        (["02-January-2013"], "2013-01-02", "date"),
        (["Wed, 02 Jan 2013 03:04:05 GMT"], "2013-01-02T03:04:05", "datetime"),
        (["Jan 2, 2013 3:04 pm"], "2013-01-02T15:04", "datetime"),
        (["Jan 2013"], "2013-01-01", "date"),
        (["2013 Jan"], "2013-01-01", "date"),
        (["Q3-2013"], "2013-07-01", "date"),
        (["Q3 2013"], "2013-07-01", "date"),
        (["2013 W01"], "2012-12-31", "date"),
        (["2015-W53"], "2015-12-28", "date"),
        (["2010W1"], "2010-01-04", "date"),
        (["Sept 2013"], "2013-09-01", "date"),
        (["1357095845"], "2013-01-02T03:04:05", "datetime"),
        (["1357095845250"], "2013-01-02T03:04:05.25", "datetime"),
    ],
)
def test_spellings(cells, expected, kind):
    stamps = read(*cells)
    assert stamps.us[0] == np.datetime64(expected) and stamps.kind == kind


def test_integers():
    assert read_stamps(pl.Series("year", [1999, 2000]), ORIGIN, None).us[1] == np.datetime64("2000-01-01")
    assert read_stamps(pl.Series("step", [1999, 2000]), ORIGIN, None).written == "row counts"
    assert read_stamps(pl.Series("t", [0.0, 1.0]), ORIGIN, None).us.astype(int).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"line 3, column 't': '1\.5' is no date"):
        read_stamps(pl.Series("t", [0.0, 1.5]), ORIGIN, None)
    with pytest.raises(ValueError, match="finer than a microsecond"):
        read_stamps(pl.Series("t", [1357095845250000001]), ORIGIN, None)
    for column in (pl.Series("t", [1357095845250001000]), pl.Series("t", ["1357095845250001000"])):
        assert read_stamps(column, ORIGIN, None).us[0] == np.datetime64("2013-01-02T03:04:05.250001")
    with pytest.raises(ValueError, match="is no date"):
        read("9957095845250000000")
    assert read(*["1357095845"], time_format="unix_ms").us[0] == np.datetime64("1970-01-16T16:58:15.845")
    for unit, per_second in (("unix_s", 1), ("unix_ms", 10**3), ("unix_us", 10**6), ("unix_ns", 10**9)):
        stamps = read_stamps(pl.Series("t", [1357095845 * per_second, -per_second]), ORIGIN, unit).us
        assert stamps.tolist() == [datetime(2013, 1, 2, 3, 4, 5), datetime(1969, 12, 31, 23, 59, 59)]
    with pytest.raises(ValueError, match=r"line 3, column 't': 1357095845250000 as .*unix_s is beyond the year 9999"):
        read_stamps(pl.Series("t", [0, 1357095845250000]), ORIGIN, "unix_s")


def test_months_as_integers():
    months = pl.Series("Date", [192611, 192612, 192701])
    assert read_stamps(months, ORIGIN, None).us[2] == np.datetime64("1927-01-01")
    assert read_stamps(pl.Series("Date", [192612, 192613]), ORIGIN, None).written == "row counts"
    assert read_stamps(pl.Series("step", list(range(192652, 192702))), ORIGIN, None).written == "row counts"
    assert read_stamps(months.rename("step"), ORIGIN, "%Y%m").us[2] == np.datetime64("1927-01-01")
    for column in (months.rename("step"), pl.Series("period", [202012, 202013, 202101])):
        with pytest.raises(ValueError, match="look like years with a month or a week each"):
            read_stamps(column, ORIGIN, None)


def test_weeks_as_integers():
    weeks = read_stamps(pl.Series("Week", [202052, 202053, 202101]), ORIGIN, None)
    assert weeks.us[2] == np.datetime64("2021-01-04") and (np.diff(weeks.us) == np.timedelta64(7, "D")).all()


def test_years_that_end_in_the_next_are_no_months():
    with pytest.raises(ValueError, match=r"'2000/01' and the others look like years that end in the next.* write 2000"):
        read("2000/01", "2001/02", "2002/03")
    assert read("2000-01", "2001-01", "2002-01").us[2] == np.datetime64("2002-01-01")


@pytest.mark.parametrize(
    "cell, time_format, expected",
    [
        ("5/1/25", "%m/%d/%y", "2025-05-01"),
        ("1.5.25 6:30", "%d.%m.%y %H:%M", "2025-05-01T06:30"),
        ("5-Feb-01", "%d-%b-%y", "2001-02-05"),
        ("Jan-80", "%b-%y", "1980-01-01"),
    ],
)
def test_the_century_is_not_guessed(cell, time_format, expected):
    with pytest.raises(ValueError, match="is no date") as caught:
        read(cell)
    assert time_format in str(caught.value)
    assert read(cell, time_format=time_format).us[0] == np.datetime64(expected)


@pytest.mark.parametrize("name", ["SKU-12", "shop 1001", "abc-2013", "12-Foo-13"])
def test_identifiers_are_no_stamps(name):
    assert not looks_like_stamps(pl.Series("code", [name] * 3))


def test_day_or_month_first():
    assert read("01/02/2013", "13/02/2013").us[0] == np.datetime64("2013-02-01")
    assert read("01/02/2013", "02/13/2013").us[0] == np.datetime64("2013-01-02")
    with pytest.raises(ValueError, match=r"cannot be told apart.*--data.time_format day/month/year or"):
        read("01/02/2013", "02/02/2013")
    with pytest.raises(ValueError, match=r"'13/02/2013' has the day first, '02/13/2013' the month \(line 3\)"):
        read("13/02/2013", "02/13/2013")
    assert read("01/02/2013", time_format="%d/%m/%Y").us[0] == np.datetime64("2013-02-01")
    assert read("01/02/2013 7:00", time_format="day/month/year").us[0] == np.datetime64("2013-02-01T07:00")
    assert read("01/02/2013", time_format="month/day/year").us[0] == np.datetime64("2013-01-02")


@pytest.mark.parametrize(
    "cell, time_format, expected",
    [
        ("1/2/13 5", "%d/%m/%y %H", "2013-02-01T05:00"),
        ("2013", "%Y", "2013-01-01"),
        ("Feb-13", "%b-%y", "2013-02-01"),
        ("2013-01-01T05:00+0100", "%Y-%m-%dT%H:%M%z", "2013-01-01T04:00"),
    ],
)
def test_time_format(cell, time_format, expected):
    assert read(cell, time_format=time_format).us[0] == np.datetime64(expected)


def test_time_format_that_does_not_fit():
    with pytest.raises(
        ValueError, match=r"line 3, column 'time': '2013-02-01' is not written as --data\.time_format %d/%m/%Y"
    ):
        read("01/02/2013", "2013-02-01", time_format="%d/%m/%Y")


def test_offsets():
    stamps = read("2013-03-31T00:00+01:00", "2013-03-31T03:00+0200", "2013-03-31T02:00Z")
    assert stamps.aware and [str(u)[11:16] for u in stamps.us] == ["23:00", "01:00", "02:00"]
    assert len(stamps.offsets) == 3
    with pytest.raises(ValueError, match="line 3, column 'time': '2013-01-01 01:00' has no UTC offset"):
        read("2013-01-01 00:00Z", "2013-01-01 01:00")


@pytest.mark.parametrize(
    "cell",
    [
        "2014 W53",
        "2013 W00",
        "2013-02-29",
        "2013-00-10",
        "2013-01-01 25:00",
        "2013-01-01 24:01",
        "2013-01-01 10:61",
        "13:00 PM",
    ],
)
def test_impossible_dates_are_refused(cell):
    with pytest.raises(ValueError, match="line 3"):
        read("2013-01-01", cell)


def test_finer_than_microseconds_is_refused():
    with pytest.raises(ValueError, match="finer than a microsecond"):
        read("2013-01-01 00:00:00.123456789")
    assert read("2013-01-01 00:00:00.123456000").us[0] == np.datetime64("2013-01-01T00:00:00.123456")


def test_wall_clock_round_trip():
    hours = np.arange("2023-01-01", "2024-01-01", dtype="datetime64[h]").astype("datetime64[us]")
    local = to_local(hours, "Europe/Berlin")
    back = to_utc(local, "Europe/Berlin")
    # The second pass of the repeated hour is the only one that a wall clock alone cannot give back.
    assert (back != hours).sum() == 1
    assert str(to_utc(np.array(["2023-03-26T02:30"], "datetime64[us]"), "Europe/Berlin")[0])[:16] == "2023-03-26T01:30"


def hourly(begin, count, zone="Europe/Berlin"):
    utc = np.datetime64(begin, "us") + np.arange(count) * np.timedelta64(1, "h")
    return pl.Series("time", utc).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)


def csv(stamps, values=None):
    return "time,a\n" + "".join(f"{t},{i}\n" for i, t in enumerate(stamps))


def test_local_stamps_with_both_changes(load, refuses):
    aware = hourly("2023-10-28T22:00", 30)
    naive = aware.dt.to_string("%Y-%m-%d %H:%M")
    message = refuses(
        csv(naive), "sales.csv line 5", "is there 2 times (first: line 4)", "--data.time_zone Europe/Berlin"
    )
    assert "daylight saving" in message
    table = load(csv(naive), time_zone="Europe/Berlin")
    assert table.values[:, 0].tolist() == list(range(30)) and table.report["gaps"]["rows"] == 0
    assert table.ds(table.timestamps).to_list() == aware.to_list()
    spring = hourly("2023-03-25T20:00", 30)
    table = load(csv(spring.dt.to_string("%Y-%m-%d %H:%M")), time_zone="Europe/Berlin")
    assert len(table.values) == 30 and table.report["gaps"]["rows"] == 0
    refuses(
        "time,a\n2023-03-26 01:00,1\n2023-03-26 02:00,2\n",
        "line 3",
        "does not exist in Europe/Berlin",
        time_zone="Europe/Berlin",
    )
    refuses(csv(naive), "time zone 'Europe/Bärlin' is not known", time_zone="Europe/Bärlin")


def test_offsets_that_change_with_daylight_saving(load):
    aware = hourly("2023-10-28T22:00", 30)
    written = aware.dt.to_string("%Y-%m-%dT%H:%M:%S%:z")
    table = load(csv(written))
    assert table.time_zone == "UTC" and len(table.values) == 30
    berlin = load(csv(written), time_zone="Europe/Berlin")
    assert berlin.ds(berlin.timestamps).to_list() == aware.to_list()
    np.testing.assert_array_equal(berlin.timestamps, table.timestamps)


def test_days_are_counted_on_the_wall_clock(load, refuses):
    days = pl.Series("time", np.arange("2023-03-20", "2023-04-05", dtype="datetime64[D]")).cast(pl.Datetime("us"))
    aware = days.dt.replace_time_zone("Europe/Berlin")
    written = aware.dt.to_string("%Y-%m-%dT%H:%M:%S%:z")
    refuses(csv(written), "--data.time_zone Europe/Berlin")
    table = load(csv(written), time_zone="Europe/Berlin")
    assert table.freq == "1d" and table.values[:, 0].tolist() == list(range(16))
    assert [str(t)[:19] for t in table.ds(table.future_timestamps(0, 2))] == [
        "2023-04-05 00:00:00",
        "2023-04-06 00:00:00",
    ]
    assert table.ds(table.timestamps).to_list() == aware.to_list()
    late = load(csv(written[:6]), time_zone="Europe/Berlin")  # the change lies in the future
    assert [str(t) for t in late.ds(late.future_timestamps(0, 2))] == [
        "2023-03-26 00:00:00+01:00",
        "2023-03-27 00:00:00+02:00",
    ]


def test_fixed_offset_keeps_its_zone(load):
    table = load("time,a\n2023-01-01T00:00+05:00,1\n2023-01-01T01:00+05:00,2\n")
    assert table.time_zone == "Etc/GMT-5"
    assert str(table.ds(table.timestamps)[0]) == "2023-01-01 00:00:00+05:00"


def test_z_stamps_come_back_in_utc(load):
    table = load("time,a\n2023-01-01T00:00:00Z,1\n2023-01-01T01:00:00Z,2\n")
    assert table.time_zone == "UTC" and table.ds(table.timestamps).dtype == pl.Datetime("us", "UTC")


def test_date_and_clock_in_two_columns(load):
    text = "Date;Time;Power;Volt\n16/12/2006;17:24:00;4.216;?\n16/12/2006;17:25:00;5.360;233.6\n"
    table = load(text)
    assert (
        table.freq == "1m"
        and str(table.timestamps[0])[:16] == "2006-12-16T17:24"
        and table.channels == ["Power", "Volt"]
    )
    assert np.isnan(table.values[0, 1])
    same = load(text.replace("Time", "Clocks"), time_column="Date+Clocks")
    np.testing.assert_array_equal(same.timestamps, table.timestamps)


def test_year_month_day_hour_columns(load):
    table = load("No,year,month,day,hour,pm2.5\n1,2010,1,1,0,NA\n2,2010,1,1,1,129\n3,2010,1,1,2,148\n")
    assert table.freq == "1h" and table.channels == ["pm2.5"] and str(table.timestamps[2])[:13] == "2010-01-01T02"


def test_the_future_of_many_series_at_once(load):
    days = pl.Series(np.arange("2023-03-20", "2023-03-25", dtype="datetime64[D]")).cast(pl.String).to_list()
    text = "unique_id,ds,y\n" + "".join(f"A,{d},1\n" for d in days) + "".join(f"B,{d},1\n" for d in days[:3])
    for zone in (None, "Europe/Berlin"):
        table = load(text, time_zone=zone)
        both = table.future_timestamps([0, 1], 4)
        assert both.shape == (2, 4)
        for i in range(2):
            np.testing.assert_array_equal(both[i], table.future_timestamps(i, 4))


def test_months_that_end_early_come_back_to_their_day(load):
    table = load("unique_id,ds,y\nA,2023-01-30,1\nA,2023-02-28,1\nB,2023-02-15,1\nB,2023-03-15,1\n")
    future = table.future_timestamps([0, 1], 2).astype("datetime64[D]").astype(str).tolist()
    assert future == [["2023-03-30", "2023-04-30"], ["2023-04-15", "2023-05-15"]]
