"""Columns of numbers: from text with either decimal mark, with missing cells, and with the place of every bad one."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from .delimited import Origin

MISSING_TEXT = (
    "", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "(null)", "\\n", "none", "?", ".",
    "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind",
)  # fmt: skip
_FLAGS = ("true", "false", "t", "f", "yes", "no")
_GROUPED = {  # numbers whose thousands are grouped, by decimal mark; 0,126 is none of them
    ".": r"^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$",
    ",": r"^[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?$",
}
_DOTTED_DATE = r"^\d{1,2}\.\d{1,2}\.\d{4}"
# Numbers that instruments and archives write where they have none.
_SENTINELS = (
    -9999.0,
    -99999.0,
    -999.0,
    -99.0,
    -999.9,
    -99.99,
    -9999.9,
    9999.0,
    99999.0,
    999999.0,
    -32768.0,
    1e20,
    1e30,
    -1e30,
    9.969209968386869e36,  # of NetCDF
)

Kind = Literal["number", "text", "flag", "stamp", "empty"]


@dataclass
class Column:
    """One column, understood."""

    name: str
    kind: Kind
    values: np.ndarray | None = None
    """float64 [N], NaN where missing; numbers only."""
    bad: np.ndarray | None = None
    """Rows whose cell is neither a number nor missing."""
    bad_text: str = ""
    """The first of them."""
    spellings: list[str] = field(default_factory=list)
    """Some of the words among them, each once."""


@dataclass(frozen=True)
class NumberFormat:
    decimal: str = "."
    grouped: bool = False
    missing_text: tuple[str, ...] = ()


def understand(column: pl.Series, how: NumberFormat) -> Column:
    """Numbers, flags, stamps or text? A text column is one of numbers when at least half its cells are."""
    dtype = column.dtype
    if dtype.is_numeric():
        values = column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
        return Column(column.name, "empty" if np.isnan(values).all() else "number", values)
    if dtype == pl.Boolean:
        return Column(column.name, "flag")
    if dtype.is_temporal():
        return Column(column.name, "stamp")
    if dtype == pl.Null or column.null_count() == len(column):
        return Column(column.name, "empty")
    if dtype != pl.String:
        return Column(column.name, "text")
    if how == NumberFormat():
        plain = column.cast(pl.Float64, strict=False)
        if plain.null_count() == column.null_count():  # the common case: every cell a number or empty
            return understand(plain, how)
    cells = column.str.strip_chars()
    missing = missing_cells(cells, how.missing_text)
    if missing.all():
        return Column(column.name, "empty")
    values = _parse(cells, how)
    parsed = values.is_not_null() & ~missing
    present = len(cells) - int(missing.sum())
    # Numbers with the other decimal mark count too: they are mistakes to be named, not text to be left out.
    numeric = int((parsed | (cells.str.contains(r"^[+-]?\d+[.,]\d+$") & ~missing)).sum())
    if numeric * 2 < present:
        low = cells.filter(~missing).unique().str.to_lowercase()
        return Column(column.name, "flag" if low.is_in(_FLAGS).all() else "text")
    bad = (~parsed & ~missing).arg_true().to_numpy()
    numbers = values.set(missing, None).fill_null(float("nan")).to_numpy()
    if not len(bad):
        return Column(column.name, "number", numbers, bad)
    words = cells.gather(bad).unique(maintain_order=True)
    words = words.filter(~words.str.contains(r"\d")).head(10).to_list()
    return Column(column.name, "number", numbers, bad, str(column[int(bad[0])]), words)


_SIGNED = (
    r"^[\s(+\-\u2212$\u20ac\u00a3\u00a5]*([A-Z]{3}\s?)?\d[\d.,'\u2019\s]*"
    r"([%\u2030$\u20ac\u00a3\u00a5]|[A-Z]{3}|[kKM])?[)\-]?$"
)


def has_signs(column: pl.Series) -> bool:
    """Whether a column of text is one of numbers with something beside or inside them: $1,100.50, 5 %, (7), 1 100."""
    if column.dtype != pl.String:
        return False
    cells = column.drop_nulls().head(200).str.strip_chars()
    cells = cells.filter(~missing_cells(cells))
    return len(cells) > 0 and bool((cells.str.contains(_SIGNED) & ~cells.str.contains(r"^0\d+$")).mean() > 0.5)


def missing_cells(cells: pl.Series, more: tuple[str, ...] = ()) -> pl.Series:
    """Which (stripped) cells stand for a missing value."""
    known = [*MISSING_TEXT, *(m.strip().lower() for m in more)]
    return cells.is_null() | cells.str.to_lowercase().is_in(known)


def detect_format(frame: pl.DataFrame, decimal: str | None, origin: Origin) -> tuple[str, bool]:
    """The decimal mark of a frame of text, and whether thousands are grouped by the other mark.

    Raises:
        ValueError: some numbers have a decimal comma, others a decimal point, or a mark may be either.
    """
    separator = origin.facts.get("separator")
    point = comma = grouped_point = grouped_comma = all_groups = False
    unsure: pl.Series | None = None
    texts = [c for c in frame.iter_columns() if c.dtype == pl.String]
    if decimal is not None:
        return decimal, _groups_by_other(texts, decimal)
    dotted_dates = any(c.head(20).str.contains(_DOTTED_DATE).mean() == 1 for c in texts)
    commas = any(c.str.contains(",", literal=True).any() for c in texts)
    for column in texts:
        cells = column.str.strip_chars()
        _check_unambiguous(cells, ".", origin)
        if not commas:
            if separator == ";" and dotted_dates:
                _check_groups(cells, origin)
            continue
        if separator != ",":
            _check_unambiguous(cells, ",", origin)
        cells = cells.filter(cells.str.contains(r"^[+-]?[\d.,]*[.,][\d.,]*([eE][+-]?\d+)?$"))
        if len(cells) == 0:
            continue
        point_groups, comma_groups = cells.str.contains(_GROUPED["."]), cells.str.contains(_GROUPED[","])
        if separator not in (",", ";") and cells.str.contains(r"^[+-]?[1-9]\d{0,2},\d{3}$").all():
            unsure = cells if unsure is None else unsure
            continue
        # 1,234 groups thousands where commas separate the cells, and is a decimal where semicolons do, as in Europe.
        only_groups = point_groups.all() and separator == ","
        point |= bool(cells.str.contains(r"^[+-]?\d*\.\d*([eE][+-]?\d+)?$").any()) and not comma_groups.all()
        comma |= bool(cells.str.contains(r"^[+-]?\d*,\d*([eE][+-]?\d+)?$").any()) and not only_groups
        grouped_point |= only_groups or bool(cells.str.contains(r"^[+-]?\d{1,3}(,\d{3})+\.|(,\d{3}){2}").any())
        all_groups |= comma_groups.all()
        grouped_comma |= bool(cells.str.contains(r"^[+-]?\d{1,3}(\.\d{3})+,|(\.\d{3}){2}").any())
    if unsure is not None and not (comma or grouped_comma or point or grouped_point):
        raise _unsure(unsure, ",", origin)
    grouped_point |= unsure is not None and not (comma or grouped_comma)  # other columns have decimal points
    if comma and grouped_point and not grouped_comma:
        comma = False
    grouped_comma |= comma and all_groups  # one column has decimal commas, another groups by points
    decimal = "," if (comma or grouped_comma) and not grouped_point else "."
    if comma and point and not (grouped_comma or grouped_point):
        raise ValueError(
            f"{origin.name}: numbers are written with decimal commas and with decimal points; say which is the decimal "
            f"mark: {origin.option('decimal', ',')} or {origin.option('decimal', '.')}"
        )
    return decimal, grouped_comma if decimal == "," else grouped_point


def _groups_by_other(texts: list[pl.Series], decimal: str) -> bool:
    """Whether the other mark than the decimal one groups thousands, in all numbers that hold it."""
    other, found = "," if decimal == "." else ".", False
    for column in texts:
        cells = column.str.strip_chars()
        numeric = cells.str.contains(rf"^[+-]?[\d.,]*[{other}][\d.,]*$")
        cells = cells.filter(numeric & ~cells.str.contains(_DOTTED_DATE))
        if not cells.str.contains(_GROUPED[decimal]).all():
            return False
        found |= len(cells) > 0
    return found


def _check_unambiguous(cells: pl.Series, mark: str, origin: Origin) -> None:
    """Raises ValueError for 998 and 1.002 in one column: a step across a thousand, or a fall to one?"""
    grouped = _GROUPED["," if mark == "." else "."]

    def numbers(cells: pl.Series) -> tuple[pl.Series, pl.Series]:
        cells = cells.filter(cells.str.contains(rf"^[+-]?\d+([{mark}]\d*)*$"))
        marked = cells.str.contains(mark, literal=True)
        return cells.filter(marked), cells.filter(~marked)

    if not numbers(cells.head(1000))[0].str.contains(grouped).all() or not cells.str.contains(mark, literal=True).any():
        return  # a look at few cells settles most columns
    marked, plain = numbers(cells)
    hundreds = plain.filter(plain.str.contains(r"^[+-]?[1-9]\d\d$"))
    if len(marked) and len(hundreds) and marked.str.contains(grouped).all() and (plain.str.len_chars() < 5).all():
        raise ValueError(
            f"{origin.column(cells.name)}: {marked[0]} stands beside {hundreds[0]}: set "
            f"{origin.option('decimal', ',' if mark == '.' else '.')} if the mark groups thousands, or "
            f"{origin.option('decimal', mark)} if it is the decimal mark"
        )


def _check_groups(cells: pl.Series, origin: Origin) -> None:
    """Raises ValueError for 12.345 and its like alone, where dates and separators are written as in Germany."""
    cells = cells.filter(cells.str.contains(r"^[+-]?[\d.]*\d[\d.]*$"))
    marked = cells.str.contains(".", literal=True)
    if marked.any() and cells.str.contains(r"^[+-]?(\d{1,3}|[1-9]\d{0,2}\.\d{3})$").all():
        raise _unsure(cells.filter(marked), ".", origin)


def _unsure(cells: pl.Series, mark: str, origin: Origin) -> ValueError:
    """The error for cells whose mark may group thousands or be the decimal one."""
    whole, part = cells[0].replace(mark, ""), float(cells[0].replace(mark, "."))
    return ValueError(
        f"{origin.column(cells.name)}: {cells[0]} may be {whole} or {part:g}: set "
        f"{origin.option('decimal', '.' if mark == ',' else ',')} if the mark groups thousands, or "
        f"{origin.option('decimal', mark)} if it is the decimal mark"
    )


def suspicious_sentinel(values: np.ndarray) -> tuple[float, int] | None:
    """A number that looks like "no value" (-9999, ...): far outside everything else in the column. Value and count."""
    seen = values[np.isfinite(values)]
    if len(seen) == 0:
        return None
    for extreme in (seen.min(), seen.max()):
        if not any(abs(extreme - s) <= 1e-6 * abs(s) for s in _SENTINELS):  # float32 columns round -999.9
            continue
        others = seen[seen != extreme]
        if len(others) and abs(extreme - np.median(others)) > 10 * (others.max() - others.min() or 1.0):
            return float(extreme), int((seen == extreme).sum())
    return None


def _parse(cells: pl.Series, how: NumberFormat) -> pl.Series:
    """Float64, null where the text is no number in this format."""
    other = "," if how.decimal == "." else "."
    if how.grouped:
        # Only well-formed groups: 1.5 must not become 15 in a file with decimal commas.
        plain = cells.str.replace_all(other, "", literal=True)
        cells = pl.select(
            pl.when(cells.str.contains(_GROUPED[how.decimal])).then(plain).otherwise(cells).alias(cells.name)
        ).to_series()
    if how.decimal == ",":
        # A point is no mark here: make such cells unreadable rather than read them wrongly.
        cells = cells.str.replace_all(".", "_", literal=True).str.replace_all(",", ".", literal=True)
    return cells.cast(pl.Float64, strict=False)


def statistics(values: np.ndarray, channels: list[str]) -> dict[str, dict[str, Any]]:
    """Per column: cells, missing cells and their share, extremes, and whether it is constant. JSON-able."""
    out: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(channels):
        x = values[:, i]
        seen = x[~np.isnan(x)]
        out[name] = {
            "count": len(x),
            "missing": int(len(x) - len(seen)),
            "missing_share": float(1 - len(seen) / len(x)) if len(x) else 0.0,
            "min": float(seen.min()) if len(seen) else None,
            "max": float(seen.max()) if len(seen) else None,
            "mean": float(seen.mean(dtype=np.float64)) if len(seen) else None,
            "constant": bool(len(seen) and seen.min() == seen.max()),
        }
    return out
