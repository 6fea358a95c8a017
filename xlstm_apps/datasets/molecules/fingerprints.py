"""Morgan fingerprints and Tanimoto similarities of many molecules at once."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .chemistry import chemistry

_BLOCK = 2000


def morgan_fingerprints(molecules: Iterable[Any], radius: int = 2, bits: int = 1024) -> np.ndarray:
    """Morgan fingerprints, 0 and 1: uint8 [N, bits]. The defaults are those of MOSES (Polykovskiy et al. 2020)."""
    chemistry()
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    rows = [generator.GetFingerprintAsNumPy(mol) for mol in molecules]
    return np.stack(rows) if rows else np.zeros((0, bits), np.uint8)


def similarities(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Tanimoto similarity of every pair, 1 for two that have no bit: float32 [N, M]."""
    a, b = first.astype(np.float32), second.astype(np.float32)
    common = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1)[None] - common
    return np.divide(common, either, out=np.ones_like(common), where=either > 0)


def nearest(queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The greatest similarity of every query to the references, float32 [N], and which one has it, int64 [N]."""
    best, which = np.full(len(queries), -1, np.float32), np.zeros(len(queries), np.int64)
    for begin, block in _blocks(references):
        for at, rows in _blocks(queries):
            found = similarities(rows, block)
            top = found.argmax(1)
            value = found[np.arange(len(rows)), top]
            mine = slice(at, at + len(rows))
            which[mine] = np.where(value > best[mine], begin + top, which[mine])
            best[mine] = np.maximum(best[mine], value)
    return best, which


def mean_similarity(queries: np.ndarray, references: np.ndarray, power: float = 1) -> np.ndarray:
    """Mean similarity of every query to all references, as the power mean of that power: float64 [N]."""
    total = np.zeros(len(queries))
    for _, block in _blocks(references):
        for at, rows in _blocks(queries):
            found = similarities(rows, block).astype(np.float64)
            total[at : at + len(rows)] += (found if power == 1 else found**power).sum(1)
    mean = total / len(references)
    return mean if power == 1 else mean ** (1 / power)


def _blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for begin in range(0, len(rows), _BLOCK):
        yield begin, rows[begin : begin + _BLOCK]
