"""Numbers for every symbol of many stretches, kept on disk while they come in any order, then read in order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

BLOCK = 2**20


class Track:
    """A temporary file with `width` numbers for every symbol; gone when it is closed. To be used with `with`.

    Args:
        lengths: Symbols per stretch: int64 [N].
        folder: Where there is room for it: that of the result.
        width: Numbers per symbol.
        dtype: Type of the numbers.
    """

    def __init__(self, lengths: np.ndarray, folder: Path, width: int = 1, dtype: type = np.float32) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.width, self.dtype = width, np.dtype(dtype)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Track:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, stretch: int, place: int, values: np.ndarray, *, add: bool = False) -> None:
        """Write numbers [n] or [n, width] from a place of a stretch on; `add`: to those that are there."""
        values = np.asarray(values, self.dtype)
        if add:
            values = values + self._read(int(self.offsets[stretch]) + place, len(values)).reshape(values.shape)
        self._seek(int(self.offsets[stretch]) + place)
        self._file.write(np.ascontiguousarray(values).tobytes())

    def blocks(self, stretch: int, size: int = BLOCK, *, backwards: bool = False) -> Iterator[np.ndarray]:
        """The numbers of a stretch in order, [n, width] at a time, at most `size` symbols; or all of it `backwards`."""
        start, stop = int(self.offsets[stretch]), int(self.offsets[stretch + 1])
        begins = range(start, stop, size)
        for begin in reversed(begins) if backwards else begins:
            block = self._read(begin, min(size, stop - begin))
            yield block[::-1] if backwards else block

    def mapped(self) -> np.ndarray:
        """All of it as an array [S, width] that lies in the file."""
        self._file.flush()
        return np.memmap(self._file, self.dtype, mode="r", shape=(int(self.offsets[-1]), self.width))

    def _read(self, begin: int, count: int) -> np.ndarray:
        self._seek(begin)
        raw = self._file.read(count * self.width * self.dtype.itemsize)
        return np.frombuffer(raw, self.dtype).reshape(count, self.width)

    def _seek(self, symbol: int) -> None:
        self._file.seek(symbol * self.width * self.dtype.itemsize)
