"""What a sample of bytes looks like, to say it when the alphabet does not fit."""

import numpy as np

_NUCLEOTIDES = b"ACGTUNacgtun"
_RESIDUES_ONLY = b"EFILPQZJOXefilpqzjox*"
_SMILES_ONLY = b"()=#[]123456789@/\\+"


def looks_like(counts: np.ndarray) -> str | None:
    """`dna`, `rna`, `protein`, `smiles`, or None where it cannot be told, from counts of bytes [256]."""
    total = int(counts.sum())
    if total < 20:
        return None

    def share(of: bytes) -> float:
        return float(counts[np.frombuffer(of, np.uint8)].sum()) / total

    molecules_lack = share(
        b"AGTUagtu"
    )  # except in words such as Au; beside digits they are sequences with line numbers
    if share(_SMILES_ONLY) > 0.05 and molecules_lack < 0.1:
        return "smiles"
    if share(_NUCLEOTIDES) > 0.9:
        uracil, thymine = int(counts[[85, 117]].sum()), int(counts[[84, 116]].sum())
        return "rna" if uracil > thymine else "dna"
    letters = float(counts[65:91].sum() + counts[97:123].sum()) / total
    return "protein" if letters > 0.9 and share(_RESIDUES_ONLY) > 0.1 else None


def misfit(counts: np.ndarray, alphabet: str) -> str | None:
    """Advice where the bytes [256] look like those of another alphabet, else None."""
    seen = looks_like(counts)
    if seen is None or alphabet == "text" or seen == alphabet or (alphabet, seen) == ("dna", "rna"):
        return None
    if alphabet == "smiles" and seen == "protein":
        return None  # chains of atoms are letters too
    if alphabet == "smiles" and not counts[np.frombuffer(b"AGTU", np.uint8)].any():
        return None  # carbon and nitrogen
    use, what = "dna" if seen == "rna" else seen, seen if seen == "protein" else seen.upper()
    return f"the sequences look like {what}; use the alphabet {use!r}, or a model that reads it"
