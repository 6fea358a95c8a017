"""RDKit, where it is installed, and quiet."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def chemistry() -> Any:
    """The module `rdkit.Chem`.

    Raises:
        ValueError: RDKit is not installed; says how to mend that.
    """
    try:
        from rdkit import Chem
    except ImportError:
        raise ValueError("molecules are read by RDKit: pip install 'xlstm-apps[chem]'") from None
    return Chem


LONGEST = 10_000
"""Characters of a SMILES, and atoms of a structure: RDKit walks molecules recursively, and ends the process in those of
more than about 15,000 atoms."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without the lines that RDKit writes to the error stream; what was wrong is told by who asked."""
    chemistry()
    from rdkit import rdBase

    block = rdBase.BlockLogs()
    try:
        yield
    finally:
        del block


def molecule(smiles: str) -> Any:
    """The molecule of a SMILES string, None where there is none: nothing but SMILES, at least one atom, not longer
    than any molecule is. As in MOSES it
    is sanitised twice, since aromatic systems of rare form pass once, and then fail whatever is done with them."""
    Chem = chemistry()  # noqa: N806
    params = Chem.SmilesParserParams()
    params.parseName = params.allowCXSMILES = False
    if len(smiles) > LONGEST:
        return None
    found = Chem.MolFromSmiles(smiles, params)
    if found is None or found.GetNumAtoms() == 0:
        return None
    try:
        Chem.SanitizeMol(found)
    except ValueError:
        return None
    return found
