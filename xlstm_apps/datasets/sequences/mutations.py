"""Mutants of a protein, as biologists write them: read, and checked against the wild type they are said to be of.

`A10G` puts glycine in the place of the alanine at position 10. Between several mutations of one mutant stands `:`, `,`,
`;`, `_`, `/`, `+` or a blank. HGVS is read too: `p.Ala10Gly`, `p.(A10G)`, `p.[Ala10Gly;Leu12Pro]`, `p.Ala10=`,
`p.Ala10Ter`, `p.Ala10del`, `NP_000001.1:p.Ala10Gly`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Status = Literal["ok", "synonymous", "stop", "ambiguous", "mismatch", "beyond", "unreadable", "disagrees"]
BAD: tuple[Status, ...] = ("mismatch", "beyond", "unreadable", "disagrees")
"""What says that table and wild type do not belong together, as against what a model has no score for."""

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
STOP = "*"
_THREE = {
    "Ala": "A", "Arg": "R", "Asn": "N", "Asp": "D", "Cys": "C", "Gln": "Q", "Glu": "E", "Gly": "G", "His": "H",
    "Ile": "I", "Leu": "L", "Lys": "K", "Met": "M", "Phe": "F", "Pro": "P", "Ser": "S", "Thr": "T", "Trp": "W",
    "Tyr": "Y", "Val": "V", "Sec": "U", "Pyl": "O", "Asx": "B", "Glx": "Z", "Xle": "J", "Xaa": "X", "Ter": STOP,
    "Stop": STOP,
}  # fmt: skip
_NAMES = {name.upper(): letter for name, letter in _THREE.items()}
_ONE = re.compile(r"([A-Z]{3}|[A-Z])(-?\d+)([A-Z]{3,4}|[A-Z*=-])")
_REFERENCE = re.compile(r"[A-Z]+_?\d+(\.\d+)?:(?=P\.)")
"""What HGVS may put before a change: the protein it is of."""
_BETWEEN = re.compile(r"[:;,_/+\s]+")
_WILD = ("WT", "WILDTYPE", "WILD", "TYPE", "WILD-TYPE", "=")
_SHOWN = 3
THREE_LETTERS = "written with three letters for each residue; bring one letter for each"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One residue for another."""

    ref: str
    """What stands in the wild type."""
    position: int
    """As written."""
    alt: str
    """What stands there instead; `*` is a stop, nothing a deletion."""

    def __str__(self) -> str:
        return f"{self.ref}{self.position}{self.alt or 'del'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A mutant and what became of it."""

    sequence: str = ""
    """All of it; empty where the status is one of `BAD`."""
    status: Status = "ok"
    """`synonymous`: it is the wild type; `stop`: it ends early; `ambiguous`: X, B, Z, J, U or O among what changes;
    `mismatch`: the wild type has another residue there; `beyond`: it has no such position; `unreadable`; `disagrees`:
    the sequence given beside it is another."""
    problem: str = ""
    """A status of `BAD` in words."""


def parse_mutations(text: str) -> list[Mutation]:
    """Mutations of a mutant, in the order given; none for `WT`.

    Raises:
        ValueError: It cannot be read, or changes one position twice.
    """
    bare = _REFERENCE.sub("", text.strip().strip("()[]").upper(), count=1).removeprefix("P.").strip("()[]")
    words = [word.strip("()[]").removeprefix("P.") for word in _BETWEEN.split(bare)]
    words = [word for word in words if word]
    if words and all(word in _WILD for word in words):
        return []
    out: list[Mutation] = []
    for word in words:
        found = _ONE.fullmatch(word)
        ref, alt = (_letter(found[1]), _letter(found[3])) if found else (None, None)
        if found is None or ref is None or alt is None:
            raise ValueError(f"{word!r} is no mutation such as A10G")
        out.append(Mutation(ref, int(found[2]), ref if alt == "=" else alt.replace("-", "")))
    if not out:
        raise ValueError("names no mutation such as A10G")
    places = [mutation.position for mutation in out]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise ValueError(f"changes position {twice} twice")
    return out


def _letter(name: str) -> str | None:
    if len(name) == 1:
        return name
    return "-" if name == "DEL" else _NAMES.get(name)


def three_letters(text: str) -> bool:
    """Whether a protein is written as MetAlaGly..., all of which are letters of residues, too."""
    triples = {text[place : place + 3].upper() for place in range(0, len(text) - 2, 3)}
    return len(text) > 8 and triples <= _NAMES.keys()


def clean_protein(text: str) -> str:
    """A protein as it is compared: upper case, without white space, gaps and a stop at its end."""
    return re.sub(r"[\s.-]", "", text).upper().removesuffix(STOP)


def check_mutant(text: str | None, sequence: str | None, wild_type: str, offset: int = 0) -> Mutant:
    """A mutant against the wild type.

    Args:
        text: Its mutations; None or empty where only the sequence is known.
        sequence: All of it; None or empty where only the mutations are known. Where the text cannot be read, such as
            that of an insertion, the sequence says what is meant.
        wild_type: Residues, upper case.
        offset: How far positions run ahead of the wild type: position 33 is its residue 10 with an offset of 23.
    """
    whole = clean_protein(sequence or "")
    if not (text or "").strip():
        return _judged(whole, wild_type) if whole else _bad("unreadable", "names neither mutations nor a sequence")
    assert text is not None
    try:
        mutations = parse_mutations(text)
    except ValueError as error:
        return _judged(whole, wild_type) if whole else _bad("unreadable", str(error))
    letters = [*wild_type]
    for mutation in mutations:
        place = mutation.position - offset - 1
        if not 0 <= place < len(letters):
            return _bad("beyond", f"{mutation}: the wild type has positions {offset + 1} to {offset + len(letters)}")
        if wild_type[place] != mutation.ref:
            return _bad("mismatch", f"{mutation}: position {mutation.position} of the wild type is {wild_type[place]}")
        letters[place] = mutation.alt
    made = "".join(letters)
    if any(mutation.alt == STOP for mutation in mutations):  # what stands behind it is written or not
        return Mutant(sequence=made, status="stop")
    if whole and made != whole:
        return _bad("disagrees", f"{text.strip()}: the sequence given beside it is another")
    return _judged(made, wild_type)


def _bad(status: Status, problem: str) -> Mutant:
    return Mutant(status=status, problem=problem)


def _judged(sequence: str, wild_type: str) -> Mutant:
    if sequence == wild_type:
        return Mutant(sequence=sequence, status="synonymous")
    if not sequence:
        return _bad("unreadable", "leaves no residue")
    odd = [letter for letter in sequence if letter not in RESIDUES]
    stray = next((letter for letter in odd if letter != STOP and not (letter.isascii() and letter.isalpha())), None)
    if stray is not None:
        return _bad("unreadable", f"{stray!r} stands in no protein")
    if STOP in odd:
        return Mutant(sequence=sequence, status="stop")
    # What the wild type holds itself is read alike on both sides; only what changes must be known.
    if len(odd) > sum(letter not in RESIDUES for letter in wild_type) or (
        len(sequence) == len(wild_type)
        and any(a != b and (a not in RESIDUES or b not in RESIDUES) for a, b in zip(sequence, wild_type, strict=True))
    ):
        return Mutant(sequence=sequence, status="ambiguous")
    return Mutant(sequence=sequence)


def reverted(text: str, sequence: str, offset: int = 0) -> str | None:
    """The wild type of a mutant whose mutations and sequence are known; None where that does not work out."""
    try:
        mutations = parse_mutations(text)
    except ValueError:
        return None
    letters = [*clean_protein(sequence)]
    for mutation in mutations:
        place = mutation.position - offset - 1
        if not 0 <= place < len(letters) or letters[place] != mutation.alt:
            return None
        letters[place] = mutation.ref
    return "".join(letters)


def fitting_offset(mutations: Sequence[Mutation], wild_type: str) -> tuple[int, float] | None:
    """The offset at which most mutations fit the wild type, and their share; None where there are too few to tell."""
    pairs = {(mutation.position, mutation.ref) for mutation in mutations}
    if len(pairs) < _SHOWN or not wild_type:
        return None
    positions = np.array([position for position, _ in pairs])
    refs = np.array([ord(ref) for _, ref in pairs])
    letters = np.frombuffer(wild_type.encode(), np.uint8)
    best, most = 0, -1
    for offset in range(int(positions.max()) - len(letters), int(positions.min())):
        places = positions - offset - 1
        inside = (places >= 0) & (places < len(letters))
        fit = int((inside & (letters[places.clip(0, len(letters) - 1)] == refs)).sum())
        if fit > most or (fit == most and abs(offset) < abs(best)):
            best, most = offset, fit
    return best, most / len(pairs)
