"""What molecules are put together from: BRICS fragments and Murcko scaffolds, counted as MOSES counts them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .chemistry import chemistry

LEAST_RINGS = 2
"""Rings of a scaffold that counts."""


def fragment_counts(molecules: Iterable[Any]) -> Counter[str]:
    """How often each BRICS fragment (Degen et al. 2008) occurs."""
    Chem = chemistry()  # noqa: N806
    counts: Counter[str] = Counter()
    for mol in molecules:
        counts.update(Chem.MolToSmiles(Chem.FragmentOnBRICSBonds(mol)).split("."))
    return counts


def scaffold(mol: Any, least_rings: int = 0) -> str | None:
    """SMILES of the Bemis-Murcko scaffold; None where there is none, or it has fewer rings."""
    Chem = chemistry()  # noqa: N806
    from rdkit.Chem.Scaffolds import MurckoScaffold

    found = MurckoScaffold.GetScaffoldForMol(mol)
    smiles = Chem.MolToSmiles(found)
    return smiles if smiles and found.GetRingInfo().NumRings() >= least_rings else None


def scaffold_counts(molecules: Iterable[Any]) -> Counter[str]:
    """How often each scaffold of at least two rings occurs."""
    found = (scaffold(mol, LEAST_RINGS) for mol in molecules)
    return Counter(smiles for smiles in found if smiles is not None)


def cosine(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Cosine of the angle between two vectors of counts; NaN where one has none."""
    if not first or not second:
        return float("nan")
    keys = sorted({*first, *second})
    a, b = (np.array([counts.get(key, 0) for key in keys], float) for counts in (first, second))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
