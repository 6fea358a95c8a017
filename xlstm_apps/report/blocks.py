"""The pieces a report is made of. A section is a heading and blocks; what draws a block is in `assets/`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Tone = Literal["good", "warning", "bad", "plain"]
Figure = dict[str, Any]
"""A plotly figure `{"data": [...], "layout": {...}}`; a colour is `var(--name)`, taken from the style sheet."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A coloured line that must not be overlooked."""

    text: str
    tone: Tone
    title: str = ""
    kind: ClassVar = "notice"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One key figure."""

    label: str
    value: str
    hint: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One figure; `alt` says what it shows to someone who cannot see it."""

    figure: Figure
    alt: str
    caption: str = ""
    height: int = 340
    kind: ClassVar = "chart"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure among many, chosen by its keys (series, cutoff)."""

    keys: tuple[str, ...]
    figure: Figure
    thumbnail: str = ""
    """An inline SVG, trusted."""


@dataclass(frozen=True, kw_only=True)
class Panels:
    """Figures of one kind of which one is shown at a time; `selectors` names the keys that choose it."""

    selectors: tuple[str, ...]
    panels: list[Panel]
    alt: str
    caption: str = ""
    height: int = 420
    kind: ClassVar = "panels"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A table cell: what is shown, what it is sorted by, and how it stands out."""

    text: str
    sort: float | str | None = None
    best: bool = False
    tone: Tone = "plain"
    bar: float | None = None
    """Length of a bar behind the number, as a share of the cell."""
    mark: str = ""
    """Colour variable of the swatch before the text."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A table column's heading."""

    title: str
    numeric: bool = True
    hint: str = ""
    """What the column means, shown on hovering and read aloud."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first column names the row."""

    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    note: str = ""
    sortable: bool = False
    highlight: int | None = None
    """Row of the model."""
    kind: ClassVar = "table"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values."""

    items: list[tuple[str, str]]
    kind: ClassVar = "facts"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One piece of a timeline: its share of the length, its name and what is under it."""

    label: str
    share: float
    detail: str
    role: str
    """Colour variable."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A bar divided into parts."""

    title: str
    parts: list[Part]
    start: str = ""
    end: str = ""
    kind: ClassVar = "timeline"


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text to copy; `folded` hides it behind its title."""

    title: str
    text: str
    folded: bool = False
    kind: ClassVar = "code"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawing of its own, wider than the page if need be."""

    svg: str
    """An inline SVG, trusted."""
    caption: str = ""
    kind: ClassVar = "picture"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Blocks side by side where the window is wide enough."""

    blocks: list[Block]
    kind: ClassVar = "row"


Block = Notice | Chart | Panels | Table | Facts | Timeline | Code | Picture | Row


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, what the reader should take from it in one or two sentences, and the blocks that show it."""

    id: str
    title: str
    lead: str = ""
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The top of the report."""

    subject: str
    """What the run was about, a few words; also the window's title."""
    verdict: str
    """One plain sentence with numbers."""
    detail: str = ""
    tone: Tone = "plain"
    notices: list[Notice] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)
