"""The alphabets there are: DNA and protein with the ids of the published models, SMILES, and bytes of text."""

from dataclasses import fields

from .alphabet import Alphabet

# IUPAC nucleotide codes (NC-IUB 1984); a gap says nothing about the base, like N.
_NUCLEOTIDES = {
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
    "N": "ACGT",
}
_PAIRS = dict(zip("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN", strict=True)) | {"U": "A"}

#: The twelve ids of DNA-xLSTM, Caduceus and HyenaDNA; their end of a record is [SEP].
DNA = Alphabet(
    name="dna",
    tokens=("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]", "A", "C", "G", "T", "N"),
    pad=4,
    bos=2,
    eos=1,
    mask=3,
    unk=6,
    specials=(0, 1, 2, 3, 4, 5, 6),
    definite=(7, 8, 9, 10),
    wildcard=11,
    separator=1,
    fold_case=True,
    synonyms={"U": "T"},
    ambiguity={**_NUCLEOTIDES, "-": "ACGT", ".": "ACGT"},
    pairs=_PAIRS,
)

_RESIDUES = "LAGVSERTIDPKQNFYMHWC"

#: The 38 ids of Prot-xLSTM and ProtMamba, which are those of ESM and spans to fill in. J (leucine or isoleucine) has no
#: id of its own and is read as X.
PROTEIN = Alphabet(
    name="protein",
    tokens=(
        *("<cls>", "<pad>", "<eos>", "<unk>"),
        *_RESIDUES,
        *("X", "B", "U", "Z", "O", ".", "-", "<null_1>", "<mask>"),
        *(f"<mask-{k}>" for k in range(1, 6)),
    ),
    pad=1,
    bos=0,
    eos=2,
    mask=32,
    unk=3,
    specials=(0, 1, 2, 3, 31, 32, 33, 34, 35, 36, 37),
    definite=tuple(range(4, 24)),
    wildcard=24,
    separator=0,
    fold_case=True,
    ambiguity={"X": _RESIDUES, "J": "IL"},
)

# The elements of OpenSMILES, 1 to 118, in the order of the periodic table.
_PERIODIC_TABLE = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb "
    "Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db "
    "Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)
ELEMENTS = tuple(_PERIODIC_TABLE.split())
AROMATIC = ("b", "c", "n", "o", "p", "s", "se", "as", "te", "si")
CHIRALITY = ("@", "@@", "@TH", "@AL", "@SP", "@TB", "@OH")
# Bonds, branches, rings, charges, the atom of any kind; ~ < > are the bonds of any kind and dative bonds as RDKit
# writes them, and the arrow of a reaction.
_MARKS = tuple("()[].-=#$:/\\+%*~<>")

_SMILES_SPECIALS = ("[PAD]", "[BEG]", "[END]", "[UNK]", "[MASK]", "[SEP]")

#: A fixed vocabulary that writes every OpenSMILES string. Between the molecules of a set stands a token of its own, so
#: that the dot stays what it is in a salt.
SMILES = Alphabet(
    name="smiles",
    tokens=(*_SMILES_SPECIALS, *_MARKS, *"0123456789", *CHIRALITY, *AROMATIC, *ELEMENTS),
    pad=0,
    bos=1,
    eos=2,
    unk=3,
    mask=4,
    separator=5,
    specials=tuple(range(len(_SMILES_SPECIALS))),
    definite=tuple(
        range(
            len(_SMILES_SPECIALS),
            len(_SMILES_SPECIALS) + len(_MARKS) + 10 + len(CHIRALITY) + len(AROMATIC) + len(ELEMENTS),
        )
    ),
    bytewise=False,
)


class _Sets(Alphabet):
    """The same ids with another begin, so that a corpus of one serves the other."""

    @property
    def sha(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return SMILES.sha


#: The same for sets of molecules: [SEP] begins each and ends it.
SMILES_SETS = _Sets(**{field.name: getattr(SMILES, field.name) for field in fields(SMILES)} | {"bos": 5})

# UTF-8 never holds the bytes C0, C1 and F5 to FF: five of them are free to be the specials, and an id is its byte.
_UNUSED_BYTES = (0xC0, 0xC1, *range(0xF5, 0x100))
_TEXT_SPECIALS = {0xFF: "[PAD]", 0xFE: "[BOS]", 0xFD: "[EOS]", 0xFC: "[MASK]", 0xFB: "[UNK]"}

#: UTF-8 text, one id per byte.
TEXT = Alphabet(
    name="text",
    tokens=tuple(_TEXT_SPECIALS.get(i, chr(i)) for i in range(256)),
    pad=0xFF,
    bos=0xFE,
    eos=0xFD,
    mask=0xFC,
    unk=0xFB,
    specials=_UNUSED_BYTES,
    definite=tuple(i for i in range(256) if i not in _UNUSED_BYTES),
)

ALPHABETS = {alphabet.name: alphabet for alphabet in (DNA, PROTEIN, SMILES, TEXT)}


def get_alphabet(name: str, *, sets: bool = False) -> Alphabet:
    """An alphabet by name; that of molecules also as it is read in `sets`.

    Raises:
        ValueError: no alphabet of that name.
    """
    if name not in ALPHABETS:
        raise ValueError(f"no alphabet {name!r}; there are {', '.join(ALPHABETS)}")
    return SMILES_SETS if sets and name == "smiles" else ALPHABETS[name]
