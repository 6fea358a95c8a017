"""Wall clock and UTC: daylight saving done by rule, never by guess."""

import numpy as np
import polars as pl

from .delimited import Origin
from .timestamps import Stamps, seconds

_NO_WHOLE_HOURS = {
    16_200: "Asia/Kabul",
    19_800: "Asia/Kolkata",
    20_700: "Asia/Kathmandu",
    23_400: "Asia/Yangon",
    34_200: "Australia/Darwin",
    -34_200: "Pacific/Marquesas",
}
"""Places where clocks have not been changed since 1986; the other offsets of half hours are those of summer times."""


def to_local(us: np.ndarray, zone: str) -> np.ndarray:
    """UTC to the wall clock of `zone`: datetime64[us] both."""
    local = pl.Series(us).dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return local.to_numpy().astype("datetime64[us]")


def to_utc(us: np.ndarray, zone: str) -> np.ndarray:
    """The wall clock of `zone` to UTC. An hour that happens twice is its first; one that never happens, the next."""
    local = pl.Series(us)
    aware = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    if aware.null_count():
        later = local.dt.offset_by("1h").dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        aware = aware.fill_null(later)
    return aware.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")


def localise(stamps: Stamps, codes: np.ndarray, zone: str | None, origin: Origin) -> tuple[np.ndarray, str | None]:
    """Stamps in UTC and the zone to show them in, or stamps as written and None where there is no zone.

    Args:
        codes: the series of every row [N]. Where a series has a stamp of autumn's repeated hour twice, the first row is
            taken as the first hour, as local logs are written.

    Raises:
        ValueError: the zone is unknown, or a stamp falls into the hour that is skipped in spring.
    """
    if zone is not None:
        _check(zone)
    if stamps.kind == "integer":
        if zone is not None:
            raise ValueError(
                f"{origin.option('time_zone', zone)}: the stamps of {origin.name} are {stamps.written}, without a zone"
            )
        return stamps.us, None
    if stamps.aware:
        return stamps.us, zone or stamps.zone or _zone_of(stamps.offsets)
    if zone is None:
        return stamps.us, None
    local = pl.Series(stamps.us)
    early = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    if early.null_count():
        row = int(early.is_null().arg_true()[0])
        raise ValueError(
            f"{origin.where(row)}: {local[row]} does not exist in {zone}, where clocks skip that hour in spring; the "
            "stamps may be in another zone (UTC?)"
        )
    late = local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    twice = (early != late).to_numpy()
    if twice.any():
        rows = pl.DataFrame({"code": codes[twice], "us": stamps.us[twice]})
        second = rows.select(pl.int_range(pl.len()).over("code", "us") > 0).to_series().to_numpy()
        pick = np.zeros(len(local), dtype=bool)
        pick[np.flatnonzero(twice)[second]] = True
        early = pl.select(pl.when(pl.Series(pick)).then(late).otherwise(early)).to_series()
    utc = early.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return utc.to_numpy().astype("datetime64[us]"), zone


def _check(zone: str) -> None:
    try:
        pl.Series([0]).cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    except pl.exceptions.PolarsError:
        raise ValueError(f"time zone {zone!r} is not known; write an IANA name such as Europe/Berlin or UTC") from None


def _zone_of(offsets: list[str]) -> str:
    """A zone for stamps that carry offsets only: the fixed one, if there is just one, else UTC."""
    return fixed_zone(seconds(offsets[0])) if len(offsets) == 1 else "UTC"


def fixed_zone(offset: int) -> str:
    """A zone that is always so many seconds ahead of UTC; UTC where there is none."""
    hours, rest = divmod(offset, 3600)
    if offset in _NO_WHOLE_HOURS:
        return _NO_WHOLE_HOURS[offset]
    if rest or not -12 <= hours <= 14 or hours == 0:
        return "UTC"
    return f"Etc/GMT{-hours:+d}"  # the sign of Etc zones counts westward
