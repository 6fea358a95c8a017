"""Sequences in memory in the place of a corpus: strings of a list, an array or a column, as ids."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from xlstm_apps.biosequence import Alphabet, get_tokenizer
from xlstm_apps.datasets.molecules.standardise import Standardiser


class MemoryCorpus:
    """Sequences by number, with what a `SequenceDataset` asks of a `Corpus`.

    Args:
        sequences: Ids of each, uint8 [T].
        alphabet: The ids.
        ids: Names; None: they are numbered from 1.
    """

    has_mask = False

    def __init__(self, sequences: list[np.ndarray], alphabet: Alphabet, ids: list[str] | None = None) -> None:
        self._sequences = sequences
        self.alphabet, self.wildcard, self.complement = alphabet.to_dict(), alphabet.wildcard, alphabet.complement
        self.ids = [str(number) for number in range(1, len(sequences) + 1)] if ids is None else ids
        self.lengths = np.array([len(x) for x in sequences], np.int64)
        self.weights = np.ones(len(sequences), np.float32)

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._sequences[index]

    def fetch(self, index: int, start: int, stop: int, strand: int = 1) -> np.ndarray:
        """Ids of a stretch [start, stop), read on its other strand where `strand` is -1: uint8 [T]."""
        ids = self._sequences[index][start:stop]
        if strand > 0:
            return ids
        assert self.complement is not None
        return self.complement[ids[::-1]]


def encode_strings(X: Any, alphabet: str, most: int | None = None) -> list[np.ndarray]:  # noqa: N803 - scikit-learn's
    """Ids of strings as files hold them: lower case is upper case, U is T, codes for several symbols are the wildcard,
    molecules are canonical.

    Args:
        X: List, tuple, array or Series of strings, or a frame or array with one column of them.
        alphabet: Name of the alphabet.
        most: Longest sequence allowed; None: any.

    Raises:
        ValueError: Not strings, an empty one, no molecule, or one with a character that the alphabet does not hold;
            names its row, counted from 0. RDKit is not installed.
    """
    tokenizer, canonical = get_tokenizer(alphabet), Standardiser() if alphabet == "smiles" else None
    out = []
    for row, text in enumerate(strings(X)):
        if isinstance(text, bytes):
            text = text.decode("utf-8", errors="replace")
        if not isinstance(text, str):
            raise ValueError(f"X[{row}] is {_shown(text)}, not a string; give one string per sequence")
        text = text.strip()
        if not text:
            raise ValueError(f"X[{row}] is empty; leave out sequences without a symbol")
        try:
            ids = tokenizer.fold_text(text if canonical is None else canonical(text))
        except ValueError as error:
            raise ValueError(f"X[{row}]: {error}") from None
        if most is not None and len(ids) > most:
            raise ValueError(f"X[{row}] has {len(ids):,} symbols, and max_length is {most:,}")
        out.append(ids)
    if not out:
        raise ValueError("X holds no sequence")
    return out


def strings(X: Any) -> Iterable[Any]:  # noqa: N803
    """The entries of whatever holds strings, one after another.

    Raises:
        ValueError: A single string, or several columns.
    """
    if isinstance(X, str | bytes):
        raise ValueError("X is one string; give a list of sequences, [X] for a single one")
    if hasattr(X, "columns"):  # a frame
        if len(X.columns) != 1:
            raise ValueError(f"X has {len(X.columns)} columns; give the one with the sequences")
        X = X[X.columns[0]]  # noqa: N806
    if hasattr(X, "to_list"):  # a Series of pandas or polars
        return X.to_list()
    if isinstance(X, np.ndarray):
        if X.ndim == 2 and X.shape[1] == 1:
            X = X[:, 0]  # noqa: N806
        if X.ndim != 1:
            raise ValueError(f"X has the shape {X.shape}; give one string per sequence")
        return X.tolist()
    if not hasattr(X, "__len__"):
        raise ValueError(f"X is {_shown(X)}; give a list, an array or a Series of strings")
    return list(X)


def _shown(value: Any) -> str:
    return "missing" if value is None or value != value else f"of the type {type(value).__name__}"
