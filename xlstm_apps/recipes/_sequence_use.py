"""What the verbs of sequences share on the terminal and in tables: progress, lines, notes, signs of strands."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xlstm_apps.estimators.sequence_stretches import Stretches


class Step:
    """A bar that counts."""

    def __init__(self, progress: Progress, label: str, total: int) -> None:
        self.progress = progress
        self.task = progress.add_task(label, total=total)

    def advance(self, count: int) -> None:
        """So much more is done."""
        self.progress.advance(self.task, count)


@contextmanager
def showing(console: Console, label: str, total: int) -> Iterator[Step]:
    """A bar on the error stream while the block runs; nothing where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    progress = Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    )
    with progress:
        yield Step(progress, label, total)


def strand_marks(strands: np.ndarray) -> np.ndarray:
    """`+` and `-` for 1 and -1: [N]."""
    return np.where(strands < 0, "-", "+")


def positions(start: int, length: int, strand: int, begin: int, count: int) -> np.ndarray:
    """Places in the source, counted from 1, of `count` symbols of a stretch, as read: int64 [count].

    Args:
        start: First symbol of the stretch in the source, counted from 0.
        length: Its symbols.
        strand: -1: it is read from its end.
        begin: First of the symbols, as read.
        count: How many.
    """
    along = np.arange(begin, begin + count)
    return start + 1 + (along if strand > 0 else length - 1 - along)


def region_names(stretches: Stretches) -> dict[str, list[str]]:
    """The column of the names, where there are regions."""
    return {} if stretches.names is None else {"name": stretches.names}


def speed(symbols: int, seconds: float) -> list[str]:
    """How fast it went, where it took long enough to say."""
    if seconds < 1 or symbols < 100_000:
        return []
    return [f"{symbols / seconds:,.0f} symbols per second, {seconds:.1f} s"]


def tell(console: Console, lines: Iterable[str]) -> None:
    """Lines as they are."""
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def note(console: Console, lines: Iterable[str]) -> None:
    """What a reader of the results should know."""
    tell(console, (f"note: {line}" for line in lines))
