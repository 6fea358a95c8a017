"""Numbers that chemists look at: weight, logP, drug-likeness, how hard to make, and more."""

import functools
import importlib.util
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .chemistry import chemistry

PROPERTIES = {
    "mw": "molecular weight in g/mol",
    "logp": "octanol-water partition by Crippen contributions",
    "qed": "drug-likeness from 0 to 1 (Bickerton et al. 2012)",
    "sa": "synthetic accessibility from 1, easy, to 10 (Ertl and Schuffenhauer 2009)",
    "tpsa": "topological polar surface area in square angstrom",
    "hbd": "hydrogen bond donors",
    "hba": "hydrogen bond acceptors",
    "rotatable": "rotatable bonds",
    "rings": "rings",
    "heavy_atoms": "atoms but hydrogen",
    "charge": "formal charge",
}
"""Names of the properties, and what they are."""
MOSES_PROPERTIES = ("logp", "sa", "qed", "mw")
"""Those whose distributions MOSES compares."""


def measure(molecules: Iterable[Any], names: Iterable[str] = tuple(PROPERTIES)) -> dict[str, np.ndarray]:
    """Properties of molecules: float64 [N] by name.

    Raises:
        ValueError: A name that is not in `PROPERTIES`.
    """
    calculators = {name: calculator(name) for name in names}
    molecules = list(molecules)
    return {name: np.array([value(mol) for mol in molecules], float) for name, value in calculators.items()}


def calculator(name: str) -> Callable[[Any], float]:
    """What computes the property; NaN where RDKit cannot.

    Raises:
        ValueError: There is no such property.
    """
    if name not in PROPERTIES:
        raise ValueError(f"no property {name!r}; there are {', '.join(PROPERTIES)}")
    compute = _calculators()[name]

    def value(mol: Any) -> float:
        try:
            return compute(mol)
        except ValueError:
            return math.nan

    return value


@functools.cache
def _calculators() -> dict[str, Callable[[Any], float]]:
    chem = chemistry()
    from rdkit.Chem import QED, Crippen, Descriptors, rdMolDescriptors

    return {
        "mw": Descriptors.MolWt,
        "logp": Crippen.MolLogP,
        "qed": QED.qed,
        "sa": _accessibility().calculateScore,
        "tpsa": rdMolDescriptors.CalcTPSA,
        "hbd": rdMolDescriptors.CalcNumHBD,
        "hba": rdMolDescriptors.CalcNumHBA,
        "rotatable": rdMolDescriptors.CalcNumRotatableBonds,
        "rings": rdMolDescriptors.CalcNumRings,
        "heavy_atoms": lambda mol: mol.GetNumHeavyAtoms(),
        "charge": chem.GetFormalCharge,
    }


def _accessibility() -> Any:
    """RDKit's contributed module of the SA score, which is no part of its package."""
    from rdkit import RDConfig

    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("sascorer", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
