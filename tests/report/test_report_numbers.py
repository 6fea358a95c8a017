"""Numbers, durations and shares in the form in which they are read."""

import math

import pytest

from xlstm_apps.report import numbers
from xlstm_apps.report.forecast_data import stamp
from xlstm_apps.report.numbers import ABSENT, MINUS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.3104, "2.31"), (0.06308, "0.0631"), (1741.2, "1,741"), (123456.7, "123,457"), (0, "0"),
        (-0.5, f"{MINUS}0.500"),
        (1e12, "1.00e+12"), (1e-9, f"1.00e{MINUS}09"), (-0.0, "0"), (None, ABSENT), (math.nan, ABSENT), (math.inf, "∞"),
        (-math.inf, f"{MINUS}∞"), (99.96, "100.0"),
    ],
)  # fmt: skip
def test_significant(value, text):
    assert numbers.significant(value) == text


def test_a_column_has_one_number_of_decimals():
    assert numbers.column([2.3104, 3.04, 11.1904]) == ["2.31", "3.04", "11.19"]
    assert numbers.column([0.955, 8.61, None, math.inf]) == ["0.955", "8.610", ABSENT, "∞"]
    assert numbers.column([0.00666, 14.7]) == ["0.00666", "14.7"], "thousandfold apart: each for itself"
    assert numbers.column([math.nan, None]) == [ABSENT, ABSENT]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.24, "24\xa0%"), (-0.27, f"{MINUS}27\xa0%"), (-0.001, "0\xa0%"), (math.inf, "∞\xa0%"), (None, ABSENT)],
)
def test_percent(share, text):
    assert numbers.percent(share) == text


def test_signed():
    assert [numbers.signed(x) for x in (0.24, -0.1, 0.001, None)] == ["+24\xa0%", f"{MINUS}10\xa0%", "0\xa0%", ABSENT]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (42.4, "42 s"),
        (72, "1 min 12 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90000, "1 d 1 h"),
        (math.nan, ABSENT),
    ],
)
def test_duration(seconds, text):
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("steps", "freq", "text"),
    [
        (48, "1h", "2 days"), (1, "1h", "1 hour"), (96, "15m", "1 day"), (12, "1mo", "1 year"), (7, "1d", "7 days"),
        (90, "1m", "90 minutes"), (4, "1q", "4 quarters"), (5, "1b", "5 business days"), (10, "1i", None),
        (10, None, None), (3, "odd", None),
    ],
)  # fmt: skip
def test_span(steps, freq, text):
    assert numbers.span(steps, freq) == text


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("2013-11-05T20:00:00.000000+0000", "2013-11-05 20:00"), ("2013-11-05 00:00:00", "2013-11-05"),
        ("2013-11-05T20:00:15Z", "2013-11-05 20:00:15"), ("2013-11-05T20:00:00+01:00", "2013-11-05 20:00 +01:00"),
        ("2013-11-05T00:00:00.500000", "2013-11-05 00:00:00.5"), ("2013-11-05", "2013-11-05"), ("1741", "1741"),
    ],
)  # fmt: skip
def test_stamp(written, shown):
    assert stamp(written) == shown
