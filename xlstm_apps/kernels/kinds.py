"""What was worked out for each kind of call: types, sizes, strides and options alike, whatever the numbers."""

from __future__ import annotations

from typing import TypeVar

MOST = 1024
"""Kinds to remember; lengths that differ every time must not fill the memory."""
Found = TypeVar("Found")


class Kinds(dict[tuple, Found]):
    """By kind. All are forgotten before there are too many: that takes no bookkeeping, and small calls are short."""

    def __setitem__(self, kind: tuple, found: Found) -> None:
        if len(self) >= MOST:
            self.clear()
        super().__setitem__(kind, found)
