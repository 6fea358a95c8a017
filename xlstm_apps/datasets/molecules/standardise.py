"""One way to write a molecule: canonical SMILES by a policy for salts and stereochemistry, and why one is rejected."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from xlstm_apps.choices import check_choices

from .chemistry import LONGEST, chemistry, quiet
from .selfies_notation import from_selfies, is_selfies

Salts = Literal["keep", "largest", "drop"]
Stereo = Literal["keep", "strip"]

# What stands in a file of molecules and is no SMILES, by how it begins or looks.
_OTHER_NOTATIONS = (
    ("an InChI", re.compile(r"InChI=")),
    ("an InChIKey", re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]$")),
    ("a reaction", re.compile(r"[^>]*[^->]>")),
    ("a tag of activity before a molecule, as FS-Mol has it; bring tags as a column", re.compile(r"[01]\$")),
)
EXTENSION = re.compile(r"(?:^|\s+)\|([^|]*)\|$")
"""Of ChemAxon, behind the SMILES, which is read without it."""
_SMARTS = re.compile(r"\[!?#\d")
_NONMETALS = frozenset((1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 52, 53))
"""Elements (numbers) whose bonds are of a known kind; at a metal a bond of any kind says that it is coordinated."""
_PROBLEMS = {
    "AtomValenceException": "valence",
    "KekulizeException": "aromaticity",
    "AtomKekulizeException": "aromaticity",
}


@dataclass(frozen=True, kw_only=True)
class MoleculePolicy:
    """What is made of a molecule before it is written canonically."""

    salts: Salts = "keep"
    """Of several parts: `keep` them all, take the `largest` (by heavy atoms, organic ones first), or `drop`."""
    stereo: Stereo = "keep"
    """`strip`: leave out what tells mirror images and E from Z."""

    def __post_init__(self) -> None:
        check_choices(self)


class Rejected(ValueError):  # noqa: N818 - a verdict, and only sometimes an error
    """Why a molecule is not taken.

    Attributes:
        reason: One of a few words, to count by: empty, length, characters, notation, syntax, valence, aromaticity,
            atoms, salt.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Standardiser:
    """Canonical SMILES of molecules, given as SMILES or SELFIES.

    Args:
        policy: For salts and stereochemistry.

    Raises:
        ValueError: RDKit is not installed.
    """

    def __init__(self, policy: MoleculePolicy | None = None) -> None:
        self.policy = policy or MoleculePolicy()
        self._chem = chemistry()
        self._largest: Any = None

    def __call__(self, smiles: str) -> str:
        """The canonical SMILES.

        Raises:
            Rejected: It is no SMILES of a molecule, or the policy leaves it out.
        """
        return self.write(self.molecule(smiles))

    def molecule(self, smiles: str) -> Any:
        """The sanitised molecule, salts and stereochemistry as the policy says.

        Raises:
            Rejected: as above.
        """
        return self.apply(self._parsed(smiles.strip()))

    def apply(self, mol: Any) -> Any:
        """The policy on a sanitised molecule.

        Raises:
            Rejected: It has no heavy atom, or is a salt that is dropped.
        """
        if mol.GetNumHeavyAtoms() == 0:
            raise Rejected("atoms", "no heavy atom, nothing but hydrogen or points to attach at (*)")
        if self.policy.salts != "keep" and len(self._chem.GetMolFrags(mol)) > 1:
            if self.policy.salts == "drop":
                raise Rejected("salt", f"{len(self._chem.GetMolFrags(mol))} parts")
            mol = self._largest_part(mol)
        if self.policy.stereo == "strip":
            self._chem.RemoveStereochemistry(mol)
        return mol

    def write(self, mol: Any) -> str:
        """Canonical SMILES of a molecule."""
        return self._chem.MolToSmiles(mol)

    def _parsed(self, smiles: str) -> Any:
        smiles = EXTENSION.sub("", smiles)
        if not smiles:
            raise Rejected("empty", "no SMILES, or a structure that RDKit cannot read")
        if len(smiles) > LONGEST:
            raise Rejected("length", f"{len(smiles):,} characters; molecules have at most {LONGEST:,}")
        if not smiles.isascii():
            place = next(i for i, char in enumerate(smiles) if not char.isascii())
            char = smiles[place]
            raise Rejected("characters", f"{char!r} (U+{ord(char):04X}) at position {place + 1} is not ASCII")
        if len(smiles.split()) > 1:
            place = len(smiles.split(None, 1)[0]) + 1
            raise Rejected("syntax", f"a blank at position {place}; bring names and the like in columns of their own")
        if is_selfies(smiles):
            try:
                smiles = from_selfies(smiles)
            except ValueError as error:
                raise Rejected("notation", str(error)) from None
            if not smiles:
                raise Rejected("empty", "SELFIES of no atom")
        if _SMARTS.search(smiles):  # RDKit takes [#6] for an atom without hydrogen
            raise Rejected("notation", "not the SMILES of a molecule: this is SMARTS, a pattern of many")
        params = self._chem.SmilesParserParams()
        params.parseName = params.allowCXSMILES = False
        with quiet():
            mol = self._chem.MolFromSmiles(smiles, params)
            if mol is None:
                raise self._diagnosis(smiles, params)
            try:
                self._chem.SanitizeMol(mol)  # see `molecule`
            except ValueError as error:
                raise Rejected("aromaticity", " ".join(str(error).split())) from None
            for bond in mol.GetBonds():
                _check_bond(bond)
            for atom in mol.GetAtoms():
                if atom.GetAtomicNum() and atom.GetAtomMapNum():  # of a reaction; at a dummy it is a point to attach at
                    atom.SetAtomMapNum(0)
            return mol

    def _diagnosis(self, smiles: str, params: Any) -> Rejected:
        """What is wrong with a SMILES that RDKit does not read."""
        params.sanitize = False
        mol = self._chem.MolFromSmiles(smiles, params)
        if mol is None:
            for what, looks in _OTHER_NOTATIONS:
                if looks.match(smiles):
                    return Rejected("notation", f"not the SMILES of a molecule: this is {what}")
            return Rejected("syntax", syntax_error(smiles))
        problems = self._chem.DetectChemistryProblems(mol)
        if not problems:
            return Rejected("syntax", "cannot be sanitised")
        first = problems[0]
        return Rejected(_PROBLEMS.get(first.GetType(), first.GetType()), " ".join(first.Message().split()))

    def _largest_part(self, mol: Any) -> Any:
        if self._largest is None:
            from rdkit.Chem.MolStandardize import rdMolStandardize

            self._largest = rdMolStandardize.LargestFragmentChooser(preferOrganic=True)
        with quiet():
            return self._largest.choose(mol)


def _check_bond(bond: Any) -> None:
    """Refuse what RDKit lets pass: bonds of any kind outside complexes, and aromatic ones that no aromatic ring has.

    Raises:
        Rejected: as above.
    """
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    names = " and ".join(f"{atom.GetIdx()} {atom.GetSymbol()}" for atom in ends)
    if bond.HasQuery() and _NONMETALS.issuperset(atom.GetAtomicNum() for atom in ends):
        raise Rejected("notation", f"a bond of any kind (~) between atoms # {names}: this is SMARTS, a pattern of many")
    if not bond.GetIsAromatic() and str(bond.GetBondType()) == "AROMATIC":
        raise Rejected("aromaticity", f"an aromatic bond between atoms # {names}, and no aromatic ring has it")


def syntax_error(smiles: str) -> str:
    """In words what RDKit finds wrong with the grammar."""
    from rdkit import rdBase

    with rdBase.CaptureErrorLog() as log:
        params = chemistry().SmilesParserParams()
        params.sanitize = params.parseName = params.allowCXSMILES = False
        chemistry().MolFromSmiles(smiles, params)
    lines = [line.partition("SMILES Parse Error: ")[2] for line in log.messages.splitlines() if "Parse Error" in line]
    place = next((line.partition("position ")[2].rstrip(":") for line in lines if "around position" in line), None)
    if place is not None:
        return f"near position {place}"
    said = lines[0].partition(" for input")[0].partition(" while parsing")[0] if lines else "not SMILES"
    return said.strip().removesuffix(":")
