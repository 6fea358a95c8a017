"""What a corpus needs to know of an alphabet. `biosequence.Alphabet` is one; neither package imports the other."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

#: Entry of `byte_table` for a byte that cannot be read.
NO_ID = 255


class Codes(Protocol):
    """Ids of symbols as plain tables."""

    @property
    def name(self) -> str: ...
    @property
    def sha(self) -> str:
        """Hash of all that fixes the meaning of an id."""
        ...

    @property
    def bytewise(self) -> bool:
        """Whether every symbol is one byte, so that `byte_table` reads it."""
        ...

    @property
    def byte_table(self) -> np.ndarray:
        """Id of every byte, or `NO_ID`: uint8 [256]."""
        ...

    @property
    def exact_table(self) -> np.ndarray:
        """The same for bytes that are written as the symbol itself: uint8 [256]."""
        ...

    @property
    def choices(self) -> Mapping[int, np.ndarray]:
        """Ids that an ambiguous byte may stand for, by byte."""
        ...

    @property
    def complement(self) -> np.ndarray | None:
        """Id of the pairing symbol: uint8 [vocabulary], or None."""
        ...

    @property
    def fold_case(self) -> bool: ...
    @property
    def definite(self) -> tuple[int, ...]:
        """Ids of symbols that say exactly one thing."""
        ...

    @property
    def wildcard(self) -> int | None: ...
    @property
    def pad(self) -> int: ...
    @property
    def bos(self) -> int: ...
    @property
    def eos(self) -> int: ...
    @property
    def unk(self) -> int: ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content."""
        ...
