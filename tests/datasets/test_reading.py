"""Files and dialects: what is read, and what is refused with advice."""

import bz2
import gzip
import io
import lzma
import re
import shlex
import zipfile

import jsonargparse
import numpy as np
import pytest

from xlstm_apps.datasets import SeriesData, load_table

ROWS = "time,load,temp\n2024-01-01 00:00,1.5,10\n2024-01-01 01:00,2.5,11\n2024-01-01 02:00,-3e1,12\n"
VALUES = [[1.5, 10], [2.5, 11], [-30, 12]]


def check(table):
    np.testing.assert_array_equal(table.values, np.float32(VALUES))
    assert table.channels == ["load", "temp"]
    assert (
        table.freq == "1h"
        and table.time_zone is None
        and table.layout == "wide"
        and table.unique_ids() == [["load", "temp"]]
    )
    assert table.timestamps[0] == np.datetime64("2024-01-01T00:00")


def semicolon(text):
    return text.replace(",", ";").replace(".", ",")


DIALECTS = {
    "plain": ROWS,
    "no newline at the end": ROWS.rstrip("\n"),
    "crlf": ROWS.replace("\n", "\r\n"),
    "old mac": ROWS.replace("\n", "\r"),
    "byte order mark": b"\xef\xbb\xbf" + ROWS.encode(),
    "utf-16": ROWS.encode("utf-16"),
    "utf-16 without mark": ROWS.encode("utf-16-le"),
    "semicolon, decimal comma": semicolon(ROWS),
    "semicolon, decimal point": ROWS.replace(",", ";"),
    "tab": ROWS.replace(",", "\t"),
    "bar": ROWS.replace(",", "|"),
    "excel hint": "sep=;\n" + ROWS.replace(",", ";"),
    "quoted": "\n".join(",".join(f'"{c}"' for c in line.split(",")) for line in ROWS.strip().split("\n")),
    "spaces in header and cells": ROWS.replace(",", " , "),
    "blank lines": "\n\n" + ROWS.replace("\n", "\n\n"),
    "comments": "# station 7\n" + ROWS.replace("2024-01-01 02", "# service, by hand\n2024-01-01 02"),
    "trailing separators": ROWS.replace("\n", ",\n"),
    "trailing separators in rows": ROWS.replace("\n2", ",\n2").replace("temp,", "temp").rstrip("\n") + ",\n",
    "lines of separators, as from Excel": ROWS + ",,\n,,\n",
    "index column of pandas": "\n".join(
        f"{'' if i == 0 else i - 1},{line}" for i, line in enumerate(ROWS.strip().split("\n"))
    ),
    "text beside numbers": ROWS.replace("\n", ",fine\n").replace("temp,fine", "temp,state"),
    "true and false": ROWS.replace("\n", ",TRUE\n").replace("temp,TRUE", "temp,holiday"),
    "empty column": ROWS.replace("\n", ",NA\n").replace("temp,NA", "temp,gone"),
}


@pytest.mark.parametrize("text", DIALECTS.values(), ids=DIALECTS.keys())
def test_dialects_say_the_same(load, text):
    check(load(text))


@pytest.mark.parametrize(
    "pack, name", [(gzip.compress, "a.csv.gz"), (lzma.compress, "a.csv.xz"), (bz2.compress, "a.csv.bz2")]
)
def test_compressed(load, pack, name):
    check(load(pack(ROWS.encode()), name))


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def test_zip_with_one_table(load):
    check(load(zipped(**{"d/": "", "d/a.csv": ROWS, "readme.md": "x", "__MACOSX/d/a.csv": "x"}), "a.zip"))


def test_zip_whose_table_is_named_like_the_archive(load):
    check(load(zipped(**{"a.zip": ROWS}), "a.zip"))


def test_time_of_day_is_not_blamed_for_a_date_in_another_column(refuses):
    refuses("DATE,TIME,v\n1-Mar-05,6:30,1\n1-Mar-05,6:45,2\n", "column 'DATE': '1-Mar-05' is no date")


def test_latin1_header(load):
    table = load("time,Wärme\n2024-01-01,1\n2024-01-02,2\n".encode("latin-1"))
    assert table.channels == ["Wärme"]
    assert table.report["encoding"] == "cp1252" and "text encoding: cp1252" in table.report["notes"]


def test_quoted_cells_may_hold_separators_newlines_and_quotes(load):
    table = load('time,"load, ""net""",note\n2024-01-01,1,"a\nb"\n2024-01-02,2,"c,d"\n')
    assert table.channels == ['load, "net"'] and table.values[:, 0].tolist() == [1, 2]


def test_thousands(load):
    table = load("time;a;b\n2024-01-01;1.234,5;7\n2024-01-02;2.000.000,25;8\n")
    assert table.values[:, 0].tolist() == [1234.5, 2000000.25] and table.report["grouped_thousands"]
    table = load('time,a\n2024-01-01,"1,234"\n2024-01-02,"2,000"\n')
    assert table.values[:, 0].tolist() == [1234, 2000]
    table = load("time;a\n2024-01-01;1,234\n2024-01-02;2,000\n")
    assert table.values[:, 0].tolist() == pytest.approx([1.234, 2.0])


def test_mixed_decimal_marks_are_refused(refuses):
    refuses(
        "time;a;b\n2024-01-01;1,5;1.5\n2024-01-02;2,5;2.5\n", "decimal commas and with decimal points", "--data.decimal"
    )
    message = refuses("time;a;b\n2024-01-01;1,5;1.5\n2024-01-02;2,5;2.5\n", "line 2, column 'b': '1.5'", decimal=",")
    assert "--data.decimal" in message


def test_missing_cells(load):
    cells = ["NA", "", "n/a", "NaN", "null", "None", "?", ".", "#N/A", '" "', "-999", "weg"]
    text = (
        "time,a\n"
        + "".join(f"2024-01-{i + 1:02},{c}\n" for i, c in enumerate(cells))
        + "".join(f"2024-01-{i:02},{i}\n" for i in range(13, 26))
    )
    table = load(text, missing_text=["weg"], missing_values=[-999])
    assert np.isnan(table.values[:12, 0]).all() and table.values[12:, 0].tolist() == list(range(13, 26))
    assert table.report["columns"]["a"]["missing"] == 12


def test_text_in_a_value_column_names_line_column_and_mend(refuses):
    text = "# made by hand\n\n" + ROWS.replace("2.5", "broken")
    refuses(
        text,
        "sales.csv line 5, column 'load': 'broken' is not a number",
        "--data.missing_text '[broken]'",
        "mend the cell",
    )


def test_line_numbers_count_lines_of_quoted_cells(refuses):
    text = 'time,a,note\n2024-01-01,1,"x\ny"\n2024-01-02,2,\n2024-01-03,oops,\n'
    refuses(text, "sales.csv line 5, column 'a': 'oops'")


@pytest.mark.parametrize(
    "content, parts",
    [
        (b"", ["sales.csv: the file is empty"]),
        (b"\n \n\n", ["sales.csv: no lines with cells"]),
        (b"time,a\n", ["sales.csv: a header line and no rows"]),
        (b"\x00\x01\x02\xff" * 100, ["sales.csv: a binary file"]),
        (bytes(range(128, 256)) * 3 + bytes(range(1, 32)) * 9, ["sales.csv: a binary file"]),
        (b"\x89PNG\r\n", ["a picture"]),
        (b"%PDF-1.7 ...", ["a PDF"]),
        (b"\xd0\xcf\x11\xe0aaaa", ["Excel"]),
        (b"PAR1aaaa", ["Parquet"]),
        (gzip.compress(ROWS.encode() * 50, mtime=0)[:-20], ["sales.csv: the gzip archive is truncated or damaged"]),
        (lzma.compress(ROWS.encode() * 50)[:-20], ["xz archive is truncated"]),
        (gzip.compress(b"", mtime=0), ["the archived file is empty"]),
        (zipped(**{"a.csv": ROWS, "b.csv": ROWS}), ["holds 2 tables (a.csv, b.csv)"]),
        (zipped(**{"a.md": ROWS}), ["holds 0 tables (a.md)"]),
        (zipped(**{"xl/workbook.xml": "x"}), ["Excel workbook"]),
        (zipped(**{"a.csv": ROWS * 20})[:-30], ["zip archive is truncated"]),
        (b"time,a,a\n2024-01-01,1,2\n", ["columns 2 and 3 are both named 'a'"]),
        (b"time,a\n2024-01-01,1\n2024-01-02,1,2\n2024-01-03,1\n", ["line 3: 3 cells, but the header has 2"]),
        (b"time,a\n2024-01-01,1,7\n2024-01-02,1,2\n2024-01-03,1,9\n", ["line 2: 3 cells", "as in all lines"]),
        (b"time,a,b\n2024-01-01,1,2\n2024-01-02,3,4\n2024-01-0", ["line 4: 1 cells", "cut short"]),
        (b'time,a\n2024-01-01,"1\n2024-01-02,2\n', ["line 2: a quote opens and never closes"]),
        (b"time,a\n2024-01-01,x\n2024-01-02,y\n", ["no column of numbers", "'a': text", "--data.target_columns"]),
        (b"name,a\nx,1\ny,2\n", ["no column holds dates or times", "--data.time_column", "the columns are name, a"]),
        (b"time,a\n2024-01-01,1\n2024-01-02,inf\n", ["line 3, column 'a': inf is infinite", "--data.missing_values"]),
        (b"time,a\n2024-01-01,1\n2024-01-02,1e39\n", ["line 3, column 'a': 1e+39"]),
        (b"time,a\n2024-01-01,1\n,2\n2024-01-03,1\n", ["line 3, column 'time': the stamp is missing"]),
        (b"time,a\n2024-01-01,1\n2024-13-02,2\n", ["line 3, column 'time': '2024-13-02' is no date"]),
        (b"time,a\n2024-01-01,1\n2024-02-30,2\n", ["line 3, column 'time': '2024-02-30' is no date"]),
        (b"time,a\n2024-01-01,1\nlater,2\n", ["'later' is no date", "--data.time_format"]),
    ],
)  # fmt: skip
def test_bad_files(refuses, content, parts):
    refuses(content, *parts)


def test_paths_that_are_no_file(tmp_path):
    def message(path):
        with pytest.raises(ValueError) as caught:
            load_table(SeriesData(path=str(path)))
        return str(caught.value)

    assert "no such file" in message(tmp_path / "x.csv")
    (tmp_path / "a.csv").write_text(ROWS)
    assert "is a directory" in message(tmp_path) and "it holds a.csv" in message(tmp_path)
    assert "the samples are: sample:nyc-weather" in message("sample:x")
    assert "cannot be opened" in message("x" * 5000) or "no such file" in message("x" * 5000)


def test_wrong_encoding_and_wrong_option(refuses, load):
    refuses("time,Wärme\n2024-01-01,1\n".encode("latin-1"), "line 1: byte 0xe4 is no utf-8 text", encoding="utf-8")
    refuses(ROWS, "'nonsense' is not known", encoding="nonsense")
    refuses(ROWS, "no such column; did you mean 'load'?", target_columns=["Load"])
    refuses(ROWS, "--data.time_column tme: no such column; did you mean 'time'?", time_column="tme")
    refuses(ROWS, "--data.id_column store: no such column", id_column="store")
    refuses(ROWS, "cannot be both", target_columns=["time"])
    assert load(ROWS, target_columns=["temp"]).channels == ["temp"]
    assert load(ROWS, target_columns=["temp", "load"]).channels == ["temp", "load"]


def test_target_of_text_is_refused_with_its_first_cell(refuses):
    text = "time,a,b\n2024-01-01,1,red\n2024-01-02,2,blue\n"
    refuses(text, "line 2, column 'b': 'red' is not a number", target_columns=["b"])


def test_no_header(load, refuses):
    text = "1.0,2.0\n1.5,2.5\n1.25,3\n"
    refuses(text, "no column holds dates or times", "--data.time_column none")
    table = load(text, time_column="none")
    assert table.channels == ["column_1", "column_2"] and table.freq == "1i"
    assert table.ds(table.timestamps).to_list() == [0, 1, 2]
    assert table.ds(table.future_timestamps(0, 2)).to_list() == [3, 4]
    assert load(text, time_column="none", header=True).channels == ["1.0", "2.0"]
    dated = load("2024-01-01,1\n2024-01-02,2\n")
    assert dated.channels == ["column_2"] and len(dated.values) == 2


def test_counted_rows_can_be_dated(load, refuses):
    table = load("1\n2\n3\n", time_column="none", start="2024-01-31", freq="1mo")
    assert [str(d) for d in table.ds(table.timestamps)] == ["2024-01-31", "2024-02-29", "2024-03-31"]
    refuses("1\n2\n3\n", "needs dates", "--data.start", time_column="none", freq="1h")


def test_many_lines_are_not_read_line_by_line(load):
    lines = [f"2024-01-01 00:00:{i % 60:02}.{i // 60:05}" for i in range(3)]
    assert lines  # stamps below a second are covered elsewhere; here: size
    text = "time,a\n" + "".join(f"{i},{i * 0.5}\n" for i in range(200_000))
    table = load(text)
    assert len(table.values) == 200_000 and table.values[-1, 0] == 199_999 * 0.5


ODD = {
    "columns by spaces": ("date  value\n2024-01-01  1.5\n2024-01-02 -2\n", {}, "1d", ["value"]),
    "header in a comment": ("# made by hand\n# date,value\n2024-01-01,1.5\n2024-01-02,-2\n", {}, "1d", ["value"]),
    "year and month": ("year,month,y\n2020,1,1.5\n2020,2,-2\n", {}, "1mo", ["y"]),
    "date and hour": ("date,hour,y\n2024-01-01,0,1.5\n2024-01-01,1,-2\n", {}, "1h", ["y"]),
    "a year beside stamps": ("year,ds,y\n2024,2024-01-01,1.5\n2024,2024-01-02,-2\n", {}, "1d", ["year", "y"]),
    "seconds with a fraction": ("timestamp,y\n1704067200.5,1.5\n1704067201.0,-2\n", {}, "500ms", ["y"]),
    "negative steps": ("t,y\n-2,1.5\n-1,-2\n", {}, "1i", ["y"]),
    "two-digit years": ("date,y\n1/2/13,1.5\n1/3/13,-2\n", {"time_format": "%m/%d/%y"}, "1d", ["y"]),
    "short month names": ("Month,y\nJan-49,1.5\nFeb-49,-2\n", {"time_format": "%b-%y"}, "1mo", ["y"]),
}  # fmt: skip


@pytest.mark.parametrize("text, options, freq, channels", ODD.values(), ids=ODD.keys())
def test_odd_but_clear_tables(load, text, options, freq, channels):
    table = load(text, **options)
    assert (table.freq, table.channels) == (freq, channels) and table.values[:, -1].tolist() == [1.5, -2]


@pytest.mark.parametrize(
    "text, parts",
    [
        ("Station X\nlat 3\ndate,v,b\n2024-01-01,1,2\n2024-01-02,3,4\n", ["line 3: 3 cells", "remove the lines above"]),
        ("date,v\nJan-49,1\n", ["line 2, column 'date': 'Jan-49' is no date", "--data.time_format"]),
        ("date,v\n45292,1\n45293,2\n", ["line 2, column 'date': 45292 looks like a date as Excel counts days"]),
        ("year,v\n1700.5,1\n1701.5,2\n", ["line 2, column 'year': '1700.5' is no date"]),
        (
            "date,v\n2024-01-01,5%\n2024-01-02,6%\n",
            ["no column of numbers", "'v': numbers with signs or blanks; take those out to forecast it, such as '5%'"],
        ),
        ('{"a": [1, 2]}', ["this is JSON"]),
        ("<!DOCTYPE html>\n<html></html>", ["a web page"]),
        ("ds,v\n2024-01-01,1\n", ["freq 'hourly' is no frequency"]),
    ],
)
def test_odd_tables_with_advice(refuses, text, parts):
    refuses(text, *parts, **({"freq": "hourly"} if "hourly" in parts[0] else {}))


def test_advice_can_be_pasted(tmp_path, refuses):
    """What a message proposes is what the command line takes."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SeriesData, "data")
    for cell, option in (
        ("broken", "missing_text"),
        ("-", "missing_text"),
        ("no: x", "missing_text"),
        ("-inf", "missing_values"),
    ):
        text = f"time,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,{cell}\n"
        message = refuses(text, f"--data.{option} ")
        pasted = shlex.split(re.search(rf"--data\.{option} '[^']*'", message)[0])
        path = tmp_path / "sales.csv"
        options = parser.parse_args(["--data.path", str(path), *pasted]).data.as_dict()
        assert np.isnan(load_table(SeriesData(**options)).values[2, 0])
