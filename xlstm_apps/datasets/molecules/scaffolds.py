"""Scaffolds with points to attach at: written so that a string goes on from a point, and what is attached there."""

from typing import Any

import numpy as np

from .chemistry import chemistry, molecule, quiet

_RANDOM_ORDERS = 32


def open_scaffold(smiles: str) -> tuple[Any, int]:
    """A scaffold whose points to attach at (`*`) are numbered 1, 2, ..., and how many there are.

    Points that have numbers (`[*:1]`) come in the order of these.

    Raises:
        ValueError: It is no molecule, has no point, or one that does not hang on a single bond.
    """
    with quiet():
        mol = molecule(smiles)
    if mol is None or mol.GetNumHeavyAtoms() == 0:
        raise ValueError(f"scaffold {smiles!r} is no molecule with points to attach at; write it as c1ccc(*)cc1")
    if len(chemistry().GetMolFrags(mol)) > 1:
        raise ValueError(f"scaffold {smiles!r} has several parts; leave out salts")
    points = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]
    if not points:
        raise ValueError(
            f"scaffold {smiles!r} has no point to attach at; mark those as in c1ccc(*)cc1, or give it as a prompt, "
            "which goes on from its end"
        )
    for point in points:
        if [str(bond.GetBondType()) for bond in point.GetBonds()] != ["SINGLE"]:
            raise ValueError(f"scaffold {smiles!r}: a point to attach at (*) hangs on one single bond")
    points.sort(key=lambda atom: (atom.GetAtomMapNum(), atom.GetIsotope(), atom.GetIdx()))
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    for number, point in enumerate(points, 1):
        point.SetAtomMapNum(number)
        point.SetIsotope(0)
    return mol, len(points)


def spellings(mol: Any, point: int, rng: np.random.Generator) -> list[str]:
    """Beginnings of SMILES of a numbered scaffold that end where a point is, with hydrogen at the other points.

    Args:
        mol: From `open_scaffold` or `attach`.
        point: Its number.
        rng: Draws orders of the atoms.
    """
    Chem = chemistry()  # noqa: N806
    bare = Chem.RWMol(mol)
    for atom in bare.GetAtoms():
        if atom.GetAtomicNum() == 0 and atom.GetAtomMapNum() != point:
            atom.SetAtomicNum(1)
        atom.SetAtomMapNum(0)
    with quiet():
        bare = Chem.RemoveHs(bare)
    dummy = next(atom.GetIdx() for atom in bare.GetAtoms() if atom.GetAtomicNum() == 0)
    count = bare.GetNumAtoms()
    orders = [rng.permutation(count).tolist() for _ in range(_RANDOM_ORDERS)]
    for root in set(range(count)) - {dummy}:  # the way there comes last, so that all else becomes branches before it
        way = list(Chem.GetShortestPath(bare, root, dummy))
        orders.append([root, *(i for i in range(count) if i not in way), *way[1:]])
    written = {Chem.MolToSmiles(Chem.RenumberAtoms(bare, order), canonical=False) for order in orders}
    return sorted(text[:-1] for text in written if text.endswith("*"))


def attach(mol: Any, point: int, branch: str) -> Any:
    """The scaffold with a branch at a point, or None where the branch is not one that hangs on a single bond.

    Args:
        mol: From `open_scaffold`, or from here.
        point: Its number.
        branch: SMILES that goes on behind the point's neighbour.
    """
    Chem = chemistry()  # noqa: N806
    with quiet():
        part = molecule(f"[*:{point}]{branch}")
        if part is None or len(Chem.GetMolFrags(part)) > 1:
            return None
        if any(atom.GetAtomicNum() == 0 for atom in list(part.GetAtoms())[1:]):
            return None
        if [str(bond.GetBondType()) for bond in part.GetAtomWithIdx(0).GetBonds()] != ["SINGLE"]:
            return None
        # Read anew, since stereochemistry of rings is canonical only then.
        return molecule(Chem.MolToSmiles(Chem.molzip(mol, part)))
