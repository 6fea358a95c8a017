"""What all verbs share on the terminal: lines as they are, and a bar that counts."""

import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


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


def table_console(*, stderr: bool = False) -> Console:
    """The standard output or the error stream, wide enough for a table where it is no terminal."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=120)


def tell(console: Console, lines: Iterable[str]) -> None:
    """Lines as they are; control characters, which names of files may hold, are written as \\n, \\x1b and so on."""
    for line in lines:
        plain = "".join(repr(one)[1:-1] if unicodedata.category(one) == "Cc" else one for one in line)
        console.print(plain, highlight=False, soft_wrap=True, markup=False)


def note(console: Console, lines: Iterable[str]) -> None:
    """What a reader of the results should know."""
    tell(console, (f"note: {line}" for line in lines))
