"""Part of the data section: what was known beside the targets, and when."""

from __future__ import annotations

from typing import Any

from .blocks import Cell, Column, Table
from .charts import shorten
from .numbers import ABSENT, column, count, percent
from .run import number

MAX_ROWS = 60
_ROLES = {"past": "up to the cutoff", "known": "ahead", "static": "always"}


def covariates(facts: dict[str, Any]) -> Table | None:
    """Every covariate with when it is known, its kind, and for numbers their range; None where there is none.

    Args:
        facts: data_summary.json: `covariates` and, for numbers, `covariate_columns`.
    """
    used = facts.get("covariates")
    if not isinstance(used, dict):
        return None
    statistics = facts.get("covariate_columns")
    statistics = statistics if isinstance(statistics, dict) else {}
    categories = used.get("categories")
    categories = categories if isinstance(categories, dict) else {}
    listed = [(str(name), role) for role in _ROLES for name in _names(used.get(role))]
    shown = listed[:MAX_ROWS]
    found = [statistics.get(name) for name, _ in shown]
    known: list[dict[str, Any]] = [one if isinstance(one, dict) else {} for one in found]
    shares = [number(one.get("missing_share")) for one in known]
    rows = []
    for (name, role), share in zip(shown, shares, strict=True):
        size = number(categories.get(name))
        kind = "number" if size is None else count(size, "category", "categories")
        if name == used.get("holidays"):
            kind = f"holidays, {kind}"
        rows.append([Cell(text=name, sort=name), Cell(text=_ROLES[role]), Cell(text=kind)])
        rows[-1].append(Cell(text=percent(share, 1) if share is not None else ABSENT, sort=share))
    headings = [
        Column(title="Covariate", numeric=False),
        Column(title="known", numeric=False, hint="for which rows the model is given it"),
        Column(title="kind", numeric=False),
        Column(title="missing", hint="counted as the mean, and of categories as one of their own"),
    ]
    for key, words in (("min", "lowest"), ("mean", "mean"), ("max", "highest")):
        values = [number(one.get(key)) for one in known]
        if any(value is not None for value in values):
            headings.append(Column(title=words))
            for row, value in zip(rows, values, strict=True):
                row.append(Cell(text=column([value])[0], sort=value))
    if used.get("calendar") is True:
        blank = [Cell(text=ABSENT) for _ in headings[3:]]
        rows.append([Cell(text="calendar"), Cell(text="ahead"), Cell(text="from the stamps"), *blank])
    if not rows:
        return None
    more = f"The first {len(shown)} of {len(listed):,}; data_summary.json has all." if len(listed) > len(shown) else ""
    return Table(caption="Covariates the model is given", columns=headings, rows=rows, note=more)


def _names(value: Any) -> list[str]:
    return [shorten(str(name), 200) for name in value] if isinstance(value, list) else []
