"""The `data` section of a forecasting recipe. Imports no torch and no table library: it is read for `--help`."""

from dataclasses import dataclass, field
from typing import Literal

Duplicates = Literal["error", "first", "last", "mean"]
Layout = Literal["auto", "wide", "long", "rows"]
OffGrid = Literal["error", "drop"]
Resample = Literal["mean", "sum", "min", "max", "first", "last"]


@dataclass(frozen=True, kw_only=True)
class SeriesData:
    """A table of time series: where it is, how to read it, and how its time span is split."""

    path: str
    """CSV, TSV or text table (also .gz, .xz, .bz2 or a .zip holding one file), .parquet, or `sample:nyc-weather`."""

    layout: Layout = "auto"
    """`wide`: a time column and value columns; `long`: an id column too, one row per series and stamp; `rows`: one
    series per line, its name first and its values in order after it (as in the M4 files); `auto`: wide or long, seen
    from the columns."""

    time_column: str | None = None
    """Column of the stamps. None: found by name and content; `date+time`: two columns read as one; `none`: the file has
    no stamps, its rows are in order."""

    id_column: str | None = None
    """Column that names the series (long layout). None: found; `store+item`: two columns together."""

    target_columns: list[str] | None = None
    """Columns to forecast. None: every numeric column."""

    freq: str | None = None
    """Step between stamps: `15m`, `1h`, `1d`, `1b` (business days), `1w`, `1mo`, `1q`, `1y`. None: inferred."""

    start: str | None = None
    """First stamp, where the file has none (`--data.time_column none`, or layout `rows`); needs `freq`. None: rows are
    counted from 0."""

    time_format: str | None = None
    """How stamps are written, as in strptime (`%d/%m/%Y %H:%M`), or `unix_s`, `unix_ms`, `unix_us`. None: as recognised
    from the cells."""

    time_zone: str | None = None
    """IANA zone such as `Europe/Berlin`: stamps without offset are read in it, the others shown in it. None: as they
    come."""

    separator: str | None = None
    """Character between cells. None: detected among comma, semicolon, tab and bar."""

    decimal: str | None = None
    """Decimal mark, `.` or `,`. None: detected."""

    header: bool | None = None
    """Whether the first line names the columns. None: yes, unless all its cells are numbers."""

    encoding: str | None = None
    """Text encoding. None: by byte order mark, else UTF-8, else Windows-1252."""

    missing_values: list[float] = field(default_factory=list)
    """Numbers that stand for a missing value, such as -9999."""

    missing_text: list[str] = field(default_factory=list)
    """More spellings of a missing value, beside the empty cell, NA, N/A, NaN, null, None and ?."""

    duplicates: Duplicates = "error"
    """What to do with rows of one series that share a stamp."""

    off_grid: OffGrid = "error"
    """What to do with stamps that do not lie on the regular grid of `freq`; they are never rounded."""

    resample: Resample | None = None
    """Bring the rows to `freq` by this statistic over each step. None: rows stay as they are."""

    val_fraction: float = 0.1
    """Share of each series' time span for validation, right before the test part."""

    test_fraction: float = 0.2
    """Share of each series' time span, its end, for the test."""

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"--data.decimal is '.' or ',', not {self.decimal!r}")
        if self.separator is not None and len(self.separator) != 1:
            raise ValueError(f"--data.separator is one character, not {self.separator!r}; a tab is $'\\t' in a shell")
        if self.resample is not None and self.freq is None:
            raise ValueError("--data.resample needs --data.freq, the step to bring the rows to")
        if self.start is not None and self.freq is None:
            raise ValueError("--data.start needs --data.freq, the step between rows")
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--data.{name} is a share between 0 and 1, not {getattr(self, name)}")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"--data.val_fraction {self.val_fraction} and --data.test_fraction {self.test_fraction} leave no rows "
                "to train on; their sum must stay below 1"
            )
