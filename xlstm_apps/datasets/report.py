"""What was read, in words: a short table for the terminal out of `SeriesTable.report`."""

import re
from collections.abc import Callable
from typing import Any

from xlstm_apps.enumeration import and_more, first_few

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def report_text(report: dict[str, Any]) -> str:
    """A few aligned lines: source, series, span, frequency, gaps, columns, and everything a person should know."""
    lengths = report["lengths"]
    length = f"{lengths['min']:,}" if lengths["min"] == lengths["max"] else f"{lengths['min']:,} to {lengths['max']:,}"
    zone = f", {report['time_zone']}" if report["time_zone"] else ""
    lines = [
        ("data", f"{report['source']}: {report['rows']:,} rows, {report['layout']} layout"),
        ("series", f"{report['series']:,} of {length} steps, {len(report['channels'])} value columns"),
        ("span", f"{report['start']} to {report['end']}{zone}"),
        ("step", f"{report['freq']}{' (inferred)' if report['freq_inferred'] else ''}"),
    ]
    gaps = report["gaps"]
    if gaps["rows"]:
        lines.append(
            ("gaps", f"{gaps['rows']:,} missing stamps in {gaps['runs']:,} gaps, the longest {gaps['longest']:,} steps")
        )
    missing = {name: c["missing_share"] for name, c in report["columns"].items() if c["missing_share"] > 0}
    if missing:
        worst = sorted(missing.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{name} {share:.1%}" for name, share in worst[:5])
        lines.append(("missing", shown + and_more(len(worst) - 5, "more columns")))
    if "covariates" in report:
        lines.append(("beside", _covariates(report)))
    if report["left_out"]:
        lines.append(("left out", first_few([f"{name} ({why})" for name, why in report["left_out"].items()], 6)))
    lines += [("note", note) for note in report["notes"]]
    return "\n".join(f"{label:<9} {text}" for label, text in lines)


def notes(report: dict[str, Any], option: Callable[[str, Any], str]) -> list[str]:
    """Findings that need a sentence; `option` says how one is set."""
    out = []
    if not report["sorted"]:
        out.append("rows were not in order of time; they were sorted")
    if report["duplicates"]["rows"]:
        out.append(f"{report['duplicates']['rows']:,} rows repeated a stamp; kept: {report['duplicates']['policy']}")
    if report["off_grid"]["rows"]:
        out.append(f"{report['off_grid']['rows']:,} rows off the {report['freq']} grid were dropped")
    if report.get("resampled"):
        out.append(f"rows were resampled: {report['resampled']}")
        if report["resampled"].startswith("sum") and report["partial_steps"]:
            out.append(
                f"{report['partial_steps']:,} series begin or end with a step of fewer rows than usual, so its sum is "
                "too small; leave its rows out"
            )
    if report["freq"].endswith("b"):
        out.append(f"no stamp is on a weekend: steps are business days; {option('freq', '1d')} counts all days")
    if said := parts_of_rows(report["channels"], report["freq"]):
        out.append(
            f"the columns {said} of each row: every column is forecast by itself, in steps of {report['freq']}; to "
            "forecast them in their order, bring them into one column with a stamp for each"
        )
    constant = [name for name, c in report["columns"].items() if c["constant"]]
    if constant:
        out.append(f"constant columns: {', '.join(constant[:8])}")
    for column, found in report["suspicious"].items():
        out.append(
            f"column {column!r} holds {found['value']:g} {found['count']:,} times, far from its other values; if that "
            f"means missing: {option('missing_values', [found['value']])}"
        )
    if report["encoding"] not in (None, "utf-8"):
        out.append(f"text encoding: {report['encoding']}")
    if report["decimal"] == ",":
        out.append("numbers have decimal commas")
    if report["grouped_thousands"]:
        out.append(f"thousands are grouped by {'.' if report['decimal'] == ',' else ','!r}")
    if report["comments"]:
        out.append(f"{report['comments']:,} lines among the rows begin with # and were left out as comments")
    if report["header"] is False:
        out.append("no header line: columns are named column_1, column_2, ...")
    if report["coarser_series"]:
        out.append(
            f"{report['coarser_series']:,} series have stamps further apart than {report['freq']} throughout; the "
            "steps between count as missing"
        )
    if report["empty_series"]:
        out.append(f"{report['empty_series']:,} series have no observed value")
    if report.get("unused_rows"):
        out.append(f"{report['unused_rows']:,} rows after those of split_rows are not used")
    for name in report.get("covariates", {}).get("one_per_series", []):
        out.append(f"static covariate {name!r} has another value for every series: it names them")
    return out


def parts_of_rows(channels: list[str], freq: str) -> str:
    """What wide columns named after parts of a step look like; empty where they are none."""
    names = [name.strip().lower() for name in channels]
    pattern = re.compile(r"(?:hour|hr|he|h|stunde|month|monat|m)?[ _.]?(\d{1,2})(?::00)?")
    numbers = {int(found[1]) for n in names if (found := pattern.fullmatch(n))}
    if freq == "1y" and ([n[:3] for n in names] == _MONTHS or numbers == {*range(1, 13)}):
        return "look like the months"
    if freq == "1y" and names == ["q1", "q2", "q3", "q4"]:
        return "look like the quarters"
    if freq == "1d" and numbers in ({*range(24)}, {*range(1, 25)}):
        return "look like the hours"
    return ""


def _covariates(report: dict[str, Any]) -> str:
    beside = report["covariates"]
    parts = [f"{', '.join(beside[role])} ({role})" for role in ("past", "known", "static") if beside[role]]
    parts += ["calendar"] if beside["calendar"] else []
    ahead = report.get("future_rows", 0) + report.get("future_table", {}).get("used", 0)
    return ", ".join(parts) + (f"; {ahead:,} future rows" if ahead else "")
