"""data_summary.json of any task: what the data was, every field optional."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from .blocks import Notice
from .charts import shorten
from .run import Run, number

MAX_NOTES = 8
PARTS = {
    "train": ("training", "var(--ink-3)"),
    "val": ("validation", "var(--series-5)"),
    "test": ("test", "var(--model)"),
}
"""Name and colour of the parts of a split."""


@dataclass(frozen=True)
class DataSummary:
    """The file's content, looked up without fear of what it lacks."""

    facts: dict[str, Any]
    run: Run

    @classmethod
    def read(cls, run: Run) -> Self:
        return cls(run.json("data_summary.json"), run)

    def number(self, *path: str) -> float | None:
        """A number by its keys, such as `gaps`, `rows`."""
        return number(self._at(path))

    def record(self, *path: str) -> dict[str, Any]:
        value = self._at(path)
        return value if isinstance(value, dict) else {}

    def items(self, *path: str) -> list[Any]:
        value = self._at(path)
        return value if isinstance(value, list) else []

    def found(self, notes: Sequence[str], title: str = "Found while reading:") -> list[Notice]:
        """What reading the data brought to light, as a notice; none without any."""
        if not notes:
            return []
        text = "; ".join(shorten(note, 300) for note in notes[:MAX_NOTES])
        more = f"; {len(notes) - MAX_NOTES} more in data_summary.json" if len(notes) > MAX_NOTES else ""
        return [Notice(title=title, text=f"{text}{more}.", tone="plain")]

    def _at(self, path: Sequence[str]) -> Any:
        value: Any = self.facts
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value
