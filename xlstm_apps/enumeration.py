"""Lists in a sentence."""

from collections.abc import Sequence


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def first_few(words: Sequence[str], most: int) -> str:
    """The first `most` words, and how many more there are: `a, b and 3 more`."""
    return ", ".join(words[:most]) + and_more(len(words) - most)


def and_more(left: int, what: str = "more") -> str:
    """What is put behind those that are shown: ` and 3 more`, or nothing where none is left."""
    return f" and {left:,} {what}" if left > 0 else ""
