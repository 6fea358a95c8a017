"""What a model card consists of, whatever the task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the card of one task has to say; the rest is the same for all."""

    title: str
    about: str
    accuracy: str
    use: str
    """How to load it, with commands to copy."""
    data: list[str]
    """Lines on what it was trained on."""
    intended_use: str
    pipeline: str | None
    """Task as the hub names it; None where the hub has no name."""
    tags: tuple[str, ...]
    dataset_type: str
    dataset: str
    results: list[tuple[str, str, float | None]]
    """Metric's type, its name and the value on the test part."""


def plain(text: str) -> str:
    """A user's text in one line, without what would be markup in a table, a heading or code."""
    return " ".join(text.replace("`", "'").replace("|", "/").replace("<", "(").replace(">", ")").split())


def markdown(headings: list[str], rows: list[list[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [f"| {' | '.join(headings)} |", f"|---|{'---:|' * (len(headings) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
