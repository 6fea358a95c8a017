"""The `data` section of a forecasting recipe. Imports no torch and no table library: it is read for `--help`."""

from dataclasses import dataclass, field
from typing import Literal

from xlstm_apps.choices import check_choices

Duplicates = Literal["error", "first", "last", "mean"]
Layout = Literal["auto", "wide", "long", "rows"]
OffGrid = Literal["error", "drop"]
Resample = Literal["mean", "sum", "min", "max", "first", "last"]


_ROLES = ("target_columns", "past_covariates", "known_covariates", "static_covariates")
_LISTS = (*_ROLES, "categorical_covariates", "missing_values", "missing_text")


@dataclass(frozen=True, kw_only=True)
class OtherTable:
    """A table for a forecaster that is trained already, read as the training's was save for what is said here."""

    path: str | None = None
    """Another table, with the training's columns. None: the training's own."""

    separator: str | None = None
    """Character between cells. None: as in training."""

    decimal: str | None = None
    """Decimal mark, `.` or `,`. None: as in training."""

    encoding: str | None = None
    """Text encoding. None: as in training."""

    time_format: str | None = None
    """How stamps are written, as in strptime, or `day/month/year`, `month/day/year`, `unix_s` and the like. None: as
    in training."""

    time_zone: str | None = None
    """IANA zone in which stamps without offset are read. None: as in training."""

    missing_values: list[float] | None = None
    """Numbers that stand for a missing value. None: as in training."""

    missing_text: list[str] | None = None
    """More spellings of a missing value. None: as in training."""

    duplicates: Duplicates | None = None
    """What to do with rows of one series that share a stamp. None: as in training."""

    off_grid: OffGrid | None = None
    """What to do with stamps that do not lie on the regular grid. None: as in training."""

    freq: str | None = None
    """Step between stamps, which is that of the model, where rows are to be brought to it. None: inferred."""

    resample: Resample | None = None
    """Bring the rows to `freq` by this statistic. None: as in training."""

    start: str | None = None
    """First stamp, where the file has none. None: as in training."""

    def __post_init__(self) -> None:
        check_choices(self, "data.")


@dataclass(frozen=True, kw_only=True)
class TableToForecast(OtherTable):
    """One that is to be forecast beyond its end."""

    future_path: str | None = None
    """Table with the known covariates of the steps to forecast."""


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

    past_covariates: list[str] = field(default_factory=list)
    """Columns known up to the present, such as other sensors: numbers, true / false, or text of few values."""

    known_covariates: list[str] = field(default_factory=list)
    """Columns known for future steps too, such as prices set ahead. Rows at the end of a series that have these but no
    target are future rows; more can come from `future_path`."""

    static_covariates: list[str] = field(default_factory=list)
    """Columns that say what a series is, with one value per series, such as its region."""

    categorical_covariates: list[str] = field(default_factory=list)
    """Those of the covariates whose numbers are codes (a shop's number), not amounts. Text needs no mention."""

    holidays_column: str | None = None
    """Column that marks holidays, by name or true / false, empty on other days; known for future steps too."""

    calendar: bool = False
    """Add time of day, day of week, weekend, day of month and of year, as far as they change from step to step;
    in local time where the table has a time zone."""

    future_path: str | None = None
    """A second table, with the known covariates of future steps, its columns named as in the first."""

    freq: str | None = None
    """Step between stamps: `15m`, `1h`, `1d`, `1b` (business days), `1w`, `1mo`, `1q`, `1y`. None: inferred."""

    start: str | None = None
    """First stamp, where the file has none (`--data.time_column none`, or layout `rows`); needs `freq`. None: rows are
    counted from 0."""

    time_format: str | None = None
    """How stamps are written, as in strptime (`%d/%m/%Y %H:%M`), or `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, or
    `day/month/year`, `month/day/year` where the cells do not tell. None: as recognised from them."""

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
    """More spellings of a missing value, beside the empty cell, NA, N/A, n.a., NaN, NaT, null, None, ?, a lone point
    and the errors of Excel, such as #DIV/0!."""

    duplicates: Duplicates = "error"
    """What to do with rows of one series that share a stamp."""

    off_grid: OffGrid = "error"
    """What to do with stamps that do not lie on the regular grid of `freq`; they are never rounded."""

    resample: Resample | None = None
    """Bring the rows to `freq` by this statistic over each step; of covariates in categories the first is taken. None:
    rows stay as they are."""

    val_fraction: float = 0.1
    """Share of each series' time span for validation, right before the test part."""

    test_fraction: float = 0.2
    """Share of each series' time span, its end, for the test."""

    split_rows: list[int] | None = None
    """Rows for training, validation and test, counted from the begin of each series, in place of the fractions; rows
    after them are not used. As in the papers, for ETTh: `[8640, 2880, 2880]`."""

    stream: bool = False
    """Read the file in pieces and keep the series on disk while working with them, for tables larger than memory."""

    memory_rows: int = 20_000_000
    """Files of more rows than this are streamed in any case."""

    cache_dir: str | None = None
    """Folder for the series of a streamed table, as large as they are; freed when they are no longer used. None: the
    system's temporary folder."""

    def __post_init__(self) -> None:
        check_choices(self, "data.")
        for name in _LISTS:
            if isinstance(getattr(self, name), str | float | int):
                raise ValueError(f"{name} is a list, such as [{getattr(self, name)!r}], not {getattr(self, name)!r}")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"data.decimal is '.' or ',', not {self.decimal!r}")
        if self.separator is not None and len(self.separator) != 1:
            raise ValueError(f"data.separator is one character, not {self.separator!r}; a tab is $'\\t' in a shell")
        if self.resample is not None and self.freq is None:
            raise ValueError("data.resample needs data.freq, the step to bring the rows to")
        if self.start is not None and self.freq is None:
            raise ValueError("data.start needs data.freq, the step between rows")
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"data.{name} is a share between 0 and 1, not {getattr(self, name)}")
        if self.split_rows is not None:
            if len(self.split_rows) != 3 or self.split_rows[0] < 1 or min(self.split_rows) < 0:
                raise ValueError(
                    f"data.split_rows is three counts of rows, [train, val, test], not {self.split_rows}; "
                    "for example '[8640, 2880, 2880]'"
                )
            if (self.val_fraction, self.test_fraction) != (0.1, 0.2):
                raise ValueError("data.split_rows takes the place of val_fraction and test_fraction; give one of them")
        if self.memory_rows < 1:
            raise ValueError(f"data.memory_rows is a number of rows, 1 or more, not {self.memory_rows}")
        self._check_roles()
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"data.val_fraction {self.val_fraction} and data.test_fraction {self.test_fraction} leave no rows "
                "to train on; their sum must stay below 1"
            )

    def _check_roles(self) -> None:
        """One role per column, as far as columns are named."""
        roles: dict[str, str] = {}
        named = [(role, name) for role in _ROLES for name in getattr(self, role) or []]
        for role, column in (("time_column", self.time_column), ("holidays_column", self.holidays_column)):
            named += [(role, column)] if column is not None else []
        for role, name in named:
            if name in roles:
                again = f"twice in {role}" if roles[name] == role else f"in {roles[name]} and in {role}"
                raise ValueError(f"column {name!r} is named {again}; a column has one role, so keep one of them")
            roles[name] = role
        for name in self.categorical_covariates:
            if roles.get(name) in (None, "target_columns", "time_column"):
                raise ValueError(
                    f"categorical_covariates names {name!r}, which is no covariate; name it in past_covariates, "
                    "known_covariates or static_covariates too"
                )
        if self.future_path is not None and not (self.known_covariates or self.holidays_column):
            raise ValueError(
                "future_path holds known covariates, and none are named; name them in "
                "known_covariates or holidays_column"
            )
