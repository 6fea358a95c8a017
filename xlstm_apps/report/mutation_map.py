"""Heat maps of saturation mutagenesis as SVG, and the page of `sequence scan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from .blocks import Cell, Column, Headline, Notice, Picture, Section, Table, Tile
from .charts import shorten
from .numbers import count
from .page import assemble, write_page

CELL = 15
PER_BAND = 50
MOST_POSITIONS = 2_000
"""Positions that a page draws; tables hold them all."""
MOST_MAPS = 60
STRONGEST = 10
_LEFT, _RIGHT, _TICKS, _LETTERS, _PROFILE, _GAP = 44, 12, 18, 18, 46, 22
_LOWEST, _HIGHEST = "var(--series-2, #c75000)", "var(--model, #0067a8)"
_STYLE = (
    "svg{background:#fff;font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;color:#16191d;"
    "--ink:#16191d;--ink-3:#69727e;--line:#e2e5ea;--surface:#f5f6f8}"
)


@dataclass(frozen=True, kw_only=True)
class MutationMap:
    """Effects of replacements in one stretch."""

    title: str
    ref: str
    """The symbols that stand there [L]."""
    positions: Sequence[int]
    """Their places, as told to people [L]."""
    symbols: str
    """What they are replaced by [A]."""
    values: np.ndarray
    """[L, A]; NaN where there is none."""
    unit: str = "nats"
    stretch: str = ""
    """Name of the stretch, where several outputs have a map of it each; else the title is it."""

    @property
    def limit(self) -> float:
        """Value of the strongest colour: nearly the largest, so that a single one does not pale all others."""
        known = np.abs(self.values[np.isfinite(self.values)])
        return float(np.quantile(known, 0.99)) or 1.0 if known.size else 1.0

    def profile(self) -> np.ndarray:
        """Mean over the replacements of each position: [L]."""
        known = np.isfinite(self.values)
        return np.where(known, self.values, 0).sum(1) / np.maximum(known.sum(1), 1)


def draw(chart: MutationMap, *, alone: bool = False) -> str:
    """The heat map as SVG: positions across, in bands, replacements down, their mean below.

    Args:
        chart: What to draw.
        alone: A file of its own, with its colours and its white ground; else it takes those of the page around it.
    """
    length, rows = len(chart.ref), len(chart.symbols)
    bands = [(start, min(start + PER_BAND, length)) for start in range(0, length, PER_BAND)]
    high = _TICKS + _LETTERS + rows * CELL + _PROFILE + _GAP
    width = _LEFT + min(length, PER_BAND) * CELL + _RIGHT
    width = max(width, 420)
    top = 24 if alone else 0
    total = top + len(bands) * high + 34
    profile, limit = chart.profile(), chart.limit
    reach = float(np.abs(profile).max()) or 1.0 if length else 1.0
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}" height="{total}" '
        f'role="img" font-size="11"><title>{escape(chart.title)}</title>'
    ]
    if alone:
        out.append(f'<style>{_STYLE}</style><text x="{_LEFT}" y="15" fill="var(--ink)">{escape(chart.title)}</text>')
    for number, (start, stop) in enumerate(bands):
        out += _band(chart, start, stop, top + number * high, profile, reach, limit)
    out += _legend(limit, chart.unit, total - 26)
    return "".join([*out, "</svg>"])


def _band(
    chart: MutationMap, start: int, stop: int, y: int, profile: np.ndarray, reach: float, limit: float
) -> list[str]:
    out = []
    grid = y + _TICKS + _LETTERS
    for place in range(start, stop):
        x = _LEFT + (place - start) * CELL
        middle, position = x + CELL / 2, chart.positions[place]
        near = any(other % 10 == 0 for other in chart.positions[place : place + 5])
        if position % 10 == 0 or (place == start and not near):
            out.append(f'<text x="{middle}" y="{y + 11}" text-anchor="middle" fill="var(--ink-3)">{position}</text>')
        out.append(
            f'<text x="{middle}" y="{y + _TICKS + 12}" text-anchor="middle" fill="var(--ink)" font-weight="700">'
            f"{escape(chart.ref[place])}</text>"
        )
        for row, symbol in enumerate(chart.symbols):
            top, value = grid + row * CELL, chart.values[place, row]
            if symbol == chart.ref[place]:
                out.append(f'<circle cx="{middle}" cy="{top + CELL / 2}" r="1.8" fill="var(--ink-3)"/>')
            elif np.isfinite(value):
                color, share = (_LOWEST if value < 0 else _HIGHEST), min(abs(value) / limit, 1)
                out.append(
                    f'<rect x="{x}" y="{top}" width="{CELL - 1}" height="{CELL - 1}" fill="{color}" '
                    f'fill-opacity="{share:.2f}"><title>{position} {escape(chart.ref[place])}&gt;{escape(symbol)} '
                    f"{value:+.3f}</title></rect>"
                )
        zero = grid + len(chart.symbols) * CELL + 4 + _PROFILE / 2
        size = abs(profile[place]) / reach * (_PROFILE / 2 - 2)
        bar = zero if profile[place] < 0 else zero - size
        color = _LOWEST if profile[place] < 0 else _HIGHEST
        out.append(
            f'<rect x="{x + 2}" y="{bar:.1f}" width="{CELL - 5}" height="{size:.1f}" fill="{color}">'
            f"<title>{position} mean {profile[place]:+.3f}</title></rect>"
        )
    for row, symbol in enumerate(chart.symbols):
        place = grid + row * CELL + 11
        out.append(f'<text x="{_LEFT - 8}" y="{place}" text-anchor="end" fill="var(--ink)">{escape(symbol)}</text>')
    zero = grid + len(chart.symbols) * CELL + 4 + _PROFILE / 2
    right = _LEFT + (stop - start) * CELL
    out.append(f'<text x="{_LEFT - 8}" y="{zero + 4}" text-anchor="end" fill="var(--ink-3)">mean</text>')
    out.append(f'<line x1="{_LEFT}" x2="{right}" y1="{zero}" y2="{zero}" stroke="var(--ink-3)" stroke-width=".5"/>')
    return out


def _legend(limit: float, unit: str, y: int) -> list[str]:
    out, steps = [], 20
    for n in range(2 * steps + 1):
        share = n / steps - 1
        color = _LOWEST if share < 0 else _HIGHEST
        out.append(
            f'<rect x="{_LEFT + 58 + 5 * n}" y="{y}" width="5" height="10" fill="{color}" '
            f'fill-opacity="{abs(share):.2f}"/>'
        )
    out.append(f'<text x="{_LEFT + 52}" y="{y + 9}" text-anchor="end" fill="var(--ink-3)">-{limit:.2g}</text>')
    out.append(f'<text x="{_LEFT + 268}" y="{y + 9}" fill="var(--ink-3)">+{limit:.2g} {escape(unit)}</text>')
    return out


def write_maps(path: str | Path, maps: Sequence[MutationMap], *, subject: str, meaning: str) -> Path:
    """Write a self-contained page of heat maps.

    Args:
        path: File to write, in a folder that exists.
        maps: What to draw.
        subject: What was scanned with what, a few words.
        meaning: What a number below 0 means, a sentence.
    """
    drawn: list[MutationMap] = []
    room = MOST_POSITIONS
    for chart in maps[:MOST_MAPS]:
        if room <= 0:
            break
        drawn.append(_cut(chart, room))
        room -= len(drawn[-1].ref)
    stretches = {chart.stretch or chart.title: len(chart.ref) for chart in maps}
    positions = sum(stretches.values())
    shown, columns = sum(len(chart.ref) for chart in drawn), sum(len(chart.ref) for chart in maps)
    notices = []
    if shown < columns:
        text = f"The first {shown:,} of {columns:,} columns are drawn; the table holds all of them."
        notices.append(Notice(text=text, tone="warning"))
    ranked = strongest(maps)
    low = ranked[0] if ranked else None
    verdict = "No symbol could be replaced."
    tiles = [Tile(label="Positions", value=f"{positions:,}", hint=count(len(stretches), "stretch", "stretches"))]
    if low is not None:
        where = f"{low[1]} in {shorten(low[0], 40)}"
        verdict = f"{where} lowers most: {low[2]:+.2g} {maps[0].unit}."
        values = np.concatenate([chart.values[np.isfinite(chart.values)] for chart in maps])
        tiles.append(Tile(label="Replacements", value=f"{values.size:,}", hint=f"median {np.median(values):+.2g}"))
        tiles.append(Tile(label="Below 0", value=f"{(values < 0).mean():.0%}", hint="of the replacements"))
    sections = [_section(n, chart) for n, chart in enumerate(drawn)]
    headline = Headline(subject=subject, verdict=verdict, detail=meaning, notices=notices, tiles=tiles)
    return write_page(Path(path), assemble(headline, sections))


def _cut(chart: MutationMap, room: int) -> MutationMap:
    if len(chart.ref) <= room:
        return chart
    return MutationMap(
        title=chart.title, ref=chart.ref[:room], positions=chart.positions[:room], symbols=chart.symbols,
        values=chart.values[:room], unit=chart.unit, stretch=chart.stretch,
    )  # fmt: skip


def _section(number: int, chart: MutationMap) -> Section:
    rows = [
        [Cell(text=label), Cell(text=f"{value:+.3f}", sort=float(value))]
        for _, label, value in strongest([chart])[:STRONGEST]
    ]
    table = Table(
        caption="Replacements that lower most",
        columns=[Column(title="replacement", numeric=False), Column(title=chart.unit)],
        rows=rows,
    )
    caption = (
        "Rows: what a symbol is replaced by; a dot marks what stands there. Below: mean over all replacements of a "
        "position. Orange: lower, blue: higher; hover for the number."
    )
    picture = Picture(svg=draw(chart), caption=caption)
    return Section(id=f"map-{number + 1}", title=shorten(chart.title, 60), blocks=[picture, table])


def strongest(maps: Sequence[MutationMap], size: int = STRONGEST) -> list[tuple[str, str, float]]:
    """Title, replacement and value of the lowest values, lowest first."""
    out: list[tuple[str, str, float]] = []
    for chart in maps:
        flat = np.where(np.isfinite(chart.values), chart.values, np.inf).ravel()
        for n in np.argsort(flat, kind="stable")[:size].tolist():
            place, row = divmod(n, len(chart.symbols))
            if np.isfinite(flat[n]):
                label = f"{chart.ref[place]}{chart.positions[place]}{chart.symbols[row]}"
                out.append((chart.title, label, float(flat[n])))
    return sorted(out, key=lambda item: item[2])[:size]
