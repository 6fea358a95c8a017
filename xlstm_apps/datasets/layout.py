"""Which columns are the stamps, the series' names and the values, in wide and long tables."""

import re
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from .config import SeriesData
from .delimited import Origin, suggest
from .numbers import Column, NumberFormat, has_signs, missing_cells, understand
from .timestamps import CLOCK_ONLY, Stamps, looks_like_stamps, read_stamps

_TIME_NAMES = [
    "ds", "timestamp", "ts", "datetime", "date_time", "date time", "time_hour", "time", "date", "day", "month", "week",
    "quarter", "year", "period", "datum", "zeitstempel", "zeit", "jahr", "step", "t", "index",
]  # fmt: skip
_NUMBER = re.compile(r"-?\d+(\.\d*)?")
_ID_NAMES = ["unique_id", "item_id", "series_id"]
_TARGET_NAMES = ["y", "target"]
_PARTS = ["year", "month", "day", "hour", "minute", "second"]
_IN_GERMAN = {
    "jahr": "year", "monat": "month", "tag": "day", "stunde": "hour", "quartal": "quarter", "woche": "week",
    "kw": "week",
}  # fmt: skip


@dataclass
class Roles:
    """What each column is for."""

    time: list[str]
    ids: list[str]
    layout: str
    stamps: Stamps
    codes: np.ndarray
    """Series number of every row, int64 [N], by first appearance."""
    item_ids: list[str] | None
    targets: list[Column] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Other columns, and why they are not forecast."""


def assign(frame: pl.DataFrame, data: SeriesData, how: NumberFormat, origin: Origin) -> Roles:
    """Find the role of every column, from the options where they say it and from names and content elsewhere.

    Raises:
        ValueError: a named column does not exist, no column holds stamps, none holds numbers, or a value is no number.
    """
    covariates = [
        *data.past_covariates, *data.known_covariates, *data.static_covariates, *filter(None, [data.holidays_column])
    ]  # fmt: skip
    rest = frame.drop([c for c in covariates if c in frame.columns])
    found = data.time_column is None and _find_time(rest, origin)
    time, stamps = _time(rest if found else frame, data, origin)
    ids = split_names(frame, data.id_column, origin, "id_column")
    if not ids and data.layout != "wide":
        ids = _find_ids(rest, time, stamps, data, how, origin)
    _check_covariates(covariates, time, ids, data, origin)
    if data.layout == "long" and not ids:
        raise ValueError(
            f"{origin.name}: no column names the series, which layout long needs; say which: "
            f"{origin.option('id_column', 'NAME')}; {suggest('', frame.columns)}"
        )
    codes, item_ids = number_series(frame, ids, origin)
    roles = Roles(time, ids, "long" if ids else "wide", stamps, codes, item_ids)
    _values(rest, data, how, origin, roles)
    return roles


def _check_covariates(covariates: list[str], time: list[str], ids: list[str], data: SeriesData, origin: Origin) -> None:
    for name in covariates:
        if name in time:
            raise ValueError(
                f"{origin.column(name)}: the stamps are read from it, so it is no covariate; "
                f"{origin.option('calendar', True)} adds what the calendar says of each row"
            )
        # One of several columns that name the series may say something of it: the shop, of shop and item.
        if name in ids and (len(ids) == 1 or name not in data.static_covariates):
            raise ValueError(f"{origin.column(name)}: it names the series, so it is no covariate; leave it out of them")


def split_names(frame: pl.DataFrame, name: str | None, origin: Origin, option: str) -> list[str]:
    """One column, or several joined by `+`."""
    if name is None:
        return []
    names = [name] if name in frame.columns else [n.strip() for n in name.split("+")]
    for n in names:
        if n not in frame.columns:
            raise ValueError(f"{origin.name}: {origin.option(option, n)}: no such column; {suggest(n, frame.columns)}")
    return names


def _time(frame: pl.DataFrame, data: SeriesData, origin: Origin) -> tuple[list[str], Stamps]:
    if data.time_column == "none" and "none" not in frame.columns:
        us = np.arange(frame.height).astype("datetime64[us]")
        return [], Stamps(us, "integer", written="row numbers")
    names = split_names(frame, data.time_column, origin, "time_column") or _find_time(frame, origin)
    if not names:
        raise ValueError(
            f"{origin.name}: no column holds dates or times; name it with {origin.option('time_column', 'NAME')}, or "
            f"say {origin.option('time_column', 'none')} where the rows are in order without stamps"
            + (", or --data.layout rows where each line is one series" if origin.from_file else "")
            + f"; {suggest('', frame.columns)}"
        )
    return names, stamps_of(frame, names, origin, data.time_format)


def stamps_of(
    frame: pl.DataFrame, names: list[str], origin: Origin, time_format: str | None, day_first: bool | None = None
) -> Stamps:
    """The stamps in one column, or in several together; `day_first` as in `read_stamps`."""
    column = frame[names[0]] if len(names) == 1 else _join(frame, names)
    return read_stamps(column, origin, time_format, day_first)


def _join(frame: pl.DataFrame, names: list[str]) -> pl.Series:
    """Date and clock in two columns, or year, month, day (hour, minute, second) in several, as one text."""
    frame = frame.with_columns(pl.col(n).cast(pl.Date) for n in names if isinstance(frame[n].dtype, pl.Datetime))
    texts = [pl.col(n).cast(pl.String).str.strip_chars() for n in names]
    parts = [_part(n) for n in names]
    if parts in (["year", "quarter"], ["year", "week"]):
        number = texts[1].str.strip_chars_start("QqWwKk ").str.zfill(1 if parts[1] == "quarter" else 2)
        text = texts[0] + f"-{parts[1][0].upper()}" + number
    elif parts == _PARTS[: len(names)] and len(names) >= 2:
        text = pl.concat_str(texts[:3], separator="-")
        if len(names) > 3:
            text = text + " " + pl.concat_str([t.str.zfill(2) for t in texts[3:]], separator=":")
    else:
        for i in range(1, len(names)):
            if parts[i] == "hour":  # 20240101 and 0
                texts[i] = (
                    pl.when(texts[i].str.contains(r"^\d{1,2}$")).then(texts[i].str.zfill(2) + ":00").otherwise(texts[i])
                )
        text = pl.concat_str(texts, separator=" ")
    return frame.select(text.alias("+".join(names))).to_series()


def _part(name: str) -> str:
    return _IN_GERMAN.get(name.lower(), name.lower())


def _find_time(frame: pl.DataFrame, origin: Origin) -> list[str]:
    def rank(name: str) -> int:
        return _TIME_NAMES.index(name.lower()) if name.lower() in _TIME_NAMES else len(_TIME_NAMES)

    found: list[tuple[bool, int, str]] = []
    for column in frame.iter_columns():
        dtype = column.dtype
        if dtype.is_temporal() and dtype in (pl.Date, pl.Datetime):
            found.append((dtype != pl.Date, rank(column.name), column.name))
        elif dtype == pl.String:
            named = rank(column.name) < len(_TIME_NAMES)
            digits = all(_NUMBER.fullmatch(c.strip()) for c in column.head(20).to_list() if c)
            if looks_like_stamps(column) and (not digits or named):
                found.append((bool(column.head(200).str.contains(r"\d:\d\d").any()), rank(column.name), column.name))
            elif digits and named and not column.is_null().all():
                found.append((False, rank(column.name) + len(_TIME_NAMES), column.name))
        elif dtype.is_numeric() and rank(column.name) < len(_TIME_NAMES):
            found.append((False, rank(column.name) + len(_TIME_NAMES), column.name))
    lower = {_part(c): c for c in frame.columns}
    parts = [lower[p] for p in _PARTS if p in lower]
    dated = [f for f in found if f[1] <= len(_TIME_NAMES)]
    if len(parts) >= 2 and [_part(p) for p in parts] == _PARTS[: len(parts)] and not dated:
        return parts
    coarse = next((lower[p] for p in ("quarter", "week") if p in lower), None)
    if "year" in lower and coarse is not None and not dated:
        return [lower["year"], coarse]
    if not found:  # let the likeliest column say what is wrong with it
        named = [c for c in frame.columns if rank(c) < len(_TIME_NAMES) and frame[c].null_count() < frame.height]
        return [min(named, key=lambda c: (_clocks(frame[c]), rank(c)))] if named else []
    # Stamps with a clock before bare dates, then the better-known name, then the first column.
    clock, _, best = min(found, key=lambda f: (not f[0], f[1]))
    if _bare_dates(frame[best]) if frame[best].dtype.is_temporal() else not clock and frame[best].dtype == pl.String:
        repeated = frame[best].n_unique() < frame.height
        other = next((c for c in frame.iter_columns() if repeated and c.name != best and _tells_clock(c)), None)
        return [best] if other is None else [best, other.name]
    return [best]


def _bare_dates(column: pl.Series) -> bool:
    """Whether a column of dates, or of stamps that are all at midnight, knows no time of day."""
    if column.dtype == pl.Date:
        return True
    return isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None and _at_midnight(column)


def _at_midnight(column: pl.Series) -> bool:
    return bool((column.dt.truncate("1d") == column).all())


def _tells_clock(column: pl.Series) -> bool:
    """Whether a column holds the time of day, or the hour, by its name and its cells."""
    name, hour = column.name.lower(), _part(column.name) == "hour"
    if not hour and name not in ("time", "clock", "uhrzeit"):
        return False
    if column.dtype == pl.Time:
        return True
    if column.dtype.is_integer():
        return hour and bool(column.is_between(0, 24).all())
    if column.dtype != pl.String:
        return False
    cells = column.str.strip_chars()
    pattern = rf"{CLOCK_ONLY}|^\d{{1,2}}$" if hour else CLOCK_ONLY
    return cells.filter(~missing_cells(cells)).str.contains(pattern).all()


def _clocks(column: pl.Series) -> bool:
    """Whether a column begins with a time of day: the date is in another."""
    return column.dtype == pl.String and bool(
        column.drop_nulls().head(1).str.strip_chars().str.contains(CLOCK_ONLY).all()
    )


def _find_ids(
    frame: pl.DataFrame, time: list[str], stamps: Stamps, data: SeriesData, how: NumberFormat, origin: Origin
) -> list[str]:
    """Names of the columns that tell apart the series of a long table; none for a wide one."""
    lower = {c.lower(): c for c in frame.columns if c not in time}
    known = next((lower[n] for n in _ID_NAMES if n in lower), None)
    if known is not None:
        return [known]
    rows = frame.height
    distinct = len(np.unique(stamps.us))
    if distinct == rows and data.layout == "auto":
        return []
    taken = {*time, *(data.target_columns or [])}
    texts = [c for c in frame.columns if c not in taken and _names_series(frame[c], how)]
    best: tuple[int, list[str]] = (distinct, [])
    for names in [[c] for c in texts] + ([texts] if len(texts) > 1 else []):
        keyed = frame.select(*names).with_columns(pl.Series("__us", stamps.us)).n_unique()
        if keyed > best[0]:
            best = keyed, names
    # Text beside a few repeated stamps is taken for no name of series: a wide table may have notes, and duplicates.
    if data.layout == "auto" and rows - distinct < 0.2 * rows:
        origin.facts["tells_apart"] = "+".join(best[1]) if best[0] == rows else None
        return []
    if best[1] and rows - best[0] < 0.5 * rows:
        return best[1]
    for column in frame.iter_columns():
        if column.name not in taken and not column.dtype.is_float() and column.n_unique() < rows // 2:
            keyed = frame.select(column.name).with_columns(pl.Series("__us", stamps.us)).n_unique()
            if keyed == rows:
                raise ValueError(
                    f"{origin.name}: stamps repeat, and {column.name!r} tells the rows apart; if it names the series, "
                    f"add {origin.option('id_column', column.name)}"
                )
    return []


def _names_series(column: pl.Series, how: NumberFormat) -> bool:
    if column.dtype in (pl.Categorical, pl.Enum):
        return True
    # "NA" and "null" may name a series too (Namibia): the kind is then "empty", with more than one value.
    return column.dtype == pl.String and understand(column, how).kind != "number" and column.n_unique() > 1


def number_series(frame: pl.DataFrame, ids: list[str], origin: Origin) -> tuple[np.ndarray, list[str] | None]:
    """The series of every row, int64 [N], numbered by first appearance, and their names; None for a wide table.

    Raises:
        ValueError: a name is missing, or two series get the same.
    """
    if not ids:
        return np.zeros(frame.height, dtype=np.int64), None
    for name in ids:
        column = frame[name]
        empty = column.is_null() | (column.str.strip_chars() == "" if column.dtype == pl.String else False)
        if empty.any():
            row = int(empty.arg_true()[0])
            raise ValueError(f"{origin.cell(row, name)}: the name of the series is missing; fill it in")
    parts = frame.select(pl.col(n).cast(pl.String).str.strip_chars() for n in ids)
    names = parts.select(pl.concat_str(pl.all(), separator="/")).to_series()
    distinct = names.unique(maintain_order=True)
    if len(ids) > 1 and parts.n_unique() > len(distinct):
        first = names.to_frame("name").with_columns(parts.select(part=pl.struct(pl.all()))["part"])
        twice = first.group_by("name", maintain_order=True).agg(pl.col("part").n_unique()).filter(pl.col("part") > 1)
        raise ValueError(
            f"{origin.name}: different series in {'+'.join(ids)} get the same name {twice['name'][0]!r}, their cells "
            "joined by /; take the / out of the cells"
        )
    codes = names.replace_strict(distinct, np.arange(len(distinct)), return_dtype=pl.Int64)
    return codes.to_numpy(), distinct.to_list()


def _values(frame: pl.DataFrame, data: SeriesData, how: NumberFormat, origin: Origin, roles: Roles) -> None:
    taken = {*roles.time, *roles.ids}
    wanted = data.target_columns
    for name in wanted or []:
        if name not in frame.columns:
            raise ValueError(
                f"{origin.name}: {origin.option('target_columns', [name])}: no such column; "
                f"{suggest(name, frame.columns)}"
            )
        if name in taken:
            raise ValueError(
                f"{origin.name}: column {name!r} cannot be both a target and the time or the name of the series"
            )
    columns = [understand(frame[c], how) for c in frame.columns if c not in taken]
    if wanted is not None:
        by_name = {c.name: c for c in columns}
        roles.targets = [_must_be_number(by_name[n], frame, origin) for n in wanted]
        roles.left_out = {c.name: "not in target_columns" for c in columns if c.name not in wanted}
        return
    for column in columns:
        if roles.ids and column.name in _TARGET_NAMES and column.kind == "empty":
            raise ValueError(f"{origin.column(column.name)}: no cell of the target holds a value; fill it in")
    lone = next((c.name for c in columns if roles.ids and c.name in _TARGET_NAMES and c.kind == "number"), None)
    for column in columns:
        if column.kind != "number":
            why = {"text": "text", "flag": "true / false", "stamp": "dates", "empty": "empty"}[column.kind]
            if column.kind == "text" and has_signs(frame[column.name]):
                why = "numbers with signs or blanks; take those out to forecast it"
            roles.left_out[column.name] = why
        elif lone is not None and column.name != lone:
            roles.left_out[column.name] = f"beside {lone!r}; name it in target_columns to forecast it too"
        elif _is_row_number(column):
            roles.left_out[column.name] = "row numbers"
        else:
            roles.targets.append(column)
    worst = min((int(c.bad[0]) for c in roles.targets if c.bad is not None and len(c.bad)), default=None)
    if worst is not None:
        raise bad_number(next(c for c in roles.targets if c.bad is not None and worst in c.bad[:1]), origin)
    if not roles.targets:
        examples = {n: frame[n].drop_nulls().head(1).cast(pl.String).to_list() for n in list(roles.left_out)[:8]}
        why = "; ".join(
            f"{name!r}: {roles.left_out[name]}" + (f", such as {cells[0][:20]!r}" if cells and cells[0].strip() else "")
            for name, cells in examples.items()
        )
        why = why or "no other columns"
        raise ValueError(
            f"{origin.name}: no column of numbers beside the stamps ({why}); name one with "
            f"{origin.option('target_columns', ['NAME'])}"
        )


def _is_row_number(column: Column) -> bool:
    if not column.name.startswith("unnamed_") and column.name not in ("Unnamed: 0", "No", "rownames"):
        return False
    values = column.values
    return values is not None and bool((np.diff(values) == 1).all()) and values[0] in (0, 1)


def _must_be_number(column: Column, frame: pl.DataFrame, origin: Origin) -> Column:
    if column.kind == "number":
        if column.bad is not None and len(column.bad):
            raise bad_number(column, origin)
        return column
    if column.kind == "empty":
        raise ValueError(f"{origin.name}: the target column {column.name!r} is empty")
    shown = frame[column.name].drop_nulls().cast(pl.String)
    row = int(frame[column.name].is_not_null().arg_true()[0])
    raise ValueError(
        f"{origin.cell(row, column.name)}: {shown[0]!r} is not a number, so the column cannot be a target; "
        "remove it from target_columns or write numbers"
    )


def bad_number(column: Column, origin: Origin) -> ValueError:
    """The error for the first cell of a column that is neither a number nor missing."""
    assert column.bad is not None
    more = f" ({len(column.bad)} such cells in the column)" if len(column.bad) > 1 else ""
    text = column.bad_text.strip()
    if any(ch.isdigit() for ch in text) and (not set(text) <= set("0123456789.,+-eE") or not set(text) & {".", ","}):
        advice = "write it as a plain number"
    elif any(ch.isdigit() for ch in text):
        mark = "," if text.rfind(",") > text.rfind(".") else "."
        if text.count(mark) > 1:  # only thousands are grouped by more than one
            mark = "." if mark == "," else ","
        advice = f"set {origin.option('decimal', mark)} or mend the cell"
    else:
        words = list(dict.fromkeys([text, *column.spellings]))
        what = "it to" if len(words) == 1 else "all that stand for a missing value:"
        advice = f"add {what} {origin.option('missing_text', words)}" + (
            " if it stands for a missing value, or mend the cell" if len(words) == 1 else ", or mend the cells"
        )
    return ValueError(f"{origin.cell(int(column.bad[0]), column.name)}: {text!r} is not a number{more}; {advice}")
