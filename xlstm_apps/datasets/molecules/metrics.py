"""What is said of generated molecules, as MOSES defines it (Polykovskiy et al. 2020), with the number it is said of."""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .chemistry import molecule, quiet
from .fingerprints import mean_similarity, morgan_fingerprints, nearest
from .fragments import cosine, fragment_counts, scaffold_counts
from .properties import MOSES_PROPERTIES, measure

UNIQUE_AT = (1000, 10_000)
FEW = 1000
"""Valid molecules below which metrics of a set say little."""


class Value(NamedTuple):
    """A number and how many molecules it is about."""

    metric: str
    value: float
    n: int
    about: str


class Valid(NamedTuple):
    """The strings that are molecules."""

    molecules: list[Any]
    smiles: list[str]
    """Canonical."""
    total: int
    """Strings, also those that are none."""


class Reference(NamedTuple):
    """What is known of the set that others are compared with; made once."""

    fingerprints: np.ndarray
    fragments: dict[str, int]
    scaffolds: dict[str, int]
    properties: dict[str, np.ndarray]
    smiles: list[str]

    @classmethod
    def of(cls, valid: Valid) -> "Reference":
        """That of molecules."""
        mols = valid.molecules
        return cls(
            morgan_fingerprints(mols),
            fragment_counts(mols),
            scaffold_counts(mols),
            measure(mols, MOSES_PROPERTIES),
            valid.smiles,
        )


def read_valid(smiles: Iterable[str]) -> Valid:
    """The molecules of strings; an empty one is none."""
    from rdkit.Chem import MolToSmiles

    molecules, total = [], 0
    with quiet():
        for text in smiles:
            total += 1
            found = molecule(text)
            if found is not None:
                molecules.append(found)
    return Valid(molecules, [MolToSmiles(mol) for mol in molecules], total)


def validity(valid: Valid) -> float:
    """Share of the strings that are molecules; NaN of none."""
    return len(valid.smiles) / valid.total if valid.total else math.nan


def uniqueness(smiles: Sequence[str], first: int | None = None) -> float:
    """Distinct among the `first` canonical SMILES, all of them for None; NaN of none."""
    looked_at = smiles[:first]
    return len(set(looked_at)) / len(looked_at) if looked_at else math.nan


def novelty(smiles: Iterable[str], training: Collection[str]) -> float:
    """Share of the distinct canonical SMILES that the training set, canonical too, does not hold; NaN of none."""
    distinct = set(smiles)
    return len(distinct.difference(training)) / len(distinct) if distinct else math.nan


def internal_diversity(prints: np.ndarray, power: float = 1) -> float:
    """1 minus the mean similarity of all pairs, each with itself among them, as the power mean; NaN of none."""
    return float(1 - mean_similarity(prints, prints, power).mean()) if len(prints) else math.nan


def nearest_neighbour_similarity(prints: np.ndarray, references: np.ndarray) -> float:
    """SNN: mean similarity to the nearest reference; NaN where either has none."""
    return float(nearest(prints, references)[0].mean()) if len(prints) and len(references) else math.nan


def compare_sets(
    generated: Valid, *, training: Collection[str] | None = None, reference: Reference | None = None, fcd: bool = False
) -> list[Value]:
    """All metrics of generated molecules that can be told.

    Args:
        generated: What was generated, in its order.
        training: Canonical SMILES of what the model was trained on: novelty is against them, not against a test set.
        reference: Held-out molecules to compare with.
        fcd: Also the Frechet ChemNet Distance (Preuer et al. 2018), which needs the package fcd.

    Raises:
        ValueError: `fcd` without the package, or without a reference.
    """
    smiles, mols = generated.smiles, generated.molecules
    n = len(smiles)
    out = [Value("valid", validity(generated), generated.total, "share of the strings that are molecules")]
    for k in UNIQUE_AT:
        if n >= k:
            out.append(Value(f"unique@{k}", uniqueness(smiles, k), k, f"share of distinct among the first {k:,} valid"))
    out.append(Value("unique", uniqueness(smiles), n, "share of distinct among all valid"))
    if training is not None:
        distinct = len(set(smiles))
        out.append(
            Value("novel", novelty(smiles, training), distinct, "share of the distinct that are not in training")
        )
    prints = morgan_fingerprints(mols)
    out.append(Value("int_div", internal_diversity(prints), n, "1 - mean Tanimoto similarity of all pairs"))
    out.append(Value("int_div2", internal_diversity(prints, 2), n, "the same as quadratic mean"))
    if reference is not None:
        out += _compared(mols, prints, reference)
    if fcd:
        if reference is None:
            raise ValueError("fcd compares with held-out molecules: give reference")
        value = frechet_chemnet_distance(smiles, reference.smiles)
        out.append(Value("fcd", value, n, f"Frechet ChemNet Distance to {len(reference.smiles):,}; falls with n"))
    return out


def few_molecules(values: Iterable[Value]) -> str | None:
    """What a reader should know where metrics are about too few molecules to say much; None where there are enough."""
    count = min((value.n for value in values if value.metric == "unique"), default=FEW)
    if count >= FEW:
        return None
    return f"few valid molecules ({count:,}): these numbers depend on how many there are, 30,000 is usual"


def _compared(mols: list[Any], prints: np.ndarray, reference: Reference) -> list[Value]:
    n = len(mols)
    with_scaffold = scaffold_counts(mols)
    out = [
        Value(
            "snn", nearest_neighbour_similarity(prints, reference.fingerprints), n, "similarity to the nearest held-out"
        ),
        Value("frag", cosine(fragment_counts(mols), reference.fragments), n, "cosine of the counts of BRICS fragments"),
        Value(
            "scaf",
            cosine(with_scaffold, reference.scaffolds),
            sum(with_scaffold.values()),
            "cosine of the counts of scaffolds of two rings or more",
        ),
    ]
    if n and len(reference.smiles):
        from scipy.stats import wasserstein_distance

        for name, values in measure(mols, MOSES_PROPERTIES).items():
            found, held_out = (x[np.isfinite(x)] for x in (values, reference.properties[name]))
            distance = float(wasserstein_distance(found, held_out)) if len(found) and len(held_out) else math.nan
            out.append(Value(f"wasserstein_{name}", distance, n, f"distance of the distributions of {name}"))
    return out


def frechet_chemnet_distance(generated: Sequence[str], reference: Sequence[str]) -> float:
    """FCD between two sets of canonical SMILES. It falls with the size of the sets: say it with both.

    Raises:
        ValueError: Neither fcd_torch nor fcd is installed.
    """
    try:
        from fcd_torch import FCD
    except ImportError:
        pass
    else:
        return float(FCD(device="cpu", n_jobs=1)(list(reference), list(generated)))
    try:
        from fcd import get_fcd
    except ImportError:
        raise ValueError("fcd needs a package: pip install fcd_torch") from None
    return float(get_fcd(list(reference), list(generated)))
