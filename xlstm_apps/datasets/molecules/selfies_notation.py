"""SELFIES (Krenn et al. 2020, doi:10.1088/2632-2153/aba947) read and written, by the package of its authors.

A string of it is symbols in brackets, such as `[C][=C][Branch1][C][O]`. Models here read SMILES; this is for files.
"""

import re
from typing import Any

from .chemistry import chemistry, molecule, quiet

LISTS = (".smi", ".selfies")
"""Endings of lists of molecules, one a line with its name."""
_SYMBOL = re.compile(r"\[[^\[\]]+\]")
_OWN = re.compile(r"\[([CN]|[=#/\\].+|[=#]?(Branch|Ring)\d)\]")
"""Symbols that no SMILES of a molecule holds beside others in brackets: no atom of these lacks its hydrogen there."""


def is_selfies(text: str) -> bool:
    """Whether a string is SELFIES and not SMILES. One symbol alone, such as [C], is taken for SMILES."""
    if not (text.startswith("[") and text.endswith("]")):
        return False
    symbols = _SYMBOL.findall(text)
    whole = sum(map(len, symbols)) + text.count(".") == len(text)
    return whole and len(symbols) > 1 and any(map(_OWN.fullmatch, symbols))


def from_selfies(text: str) -> str:
    """The SMILES of a SELFIES string, not canonical.

    Raises:
        ValueError: A symbol that is none; the package is not installed.
    """
    selfies = _package()
    try:
        return selfies.decoder(text)
    except selfies.DecoderError as error:
        raise ValueError(f"SELFIES with {' '.join(str(error).split())}") from None


def to_selfies(smiles: str) -> str | None:
    """The SELFIES string of a molecule; None where it has no words for it (dative bonds, atoms of any kind, chlorine of
    seven bonds), or words that mean another molecule.

    Raises:
        ValueError: The package is not installed.
    """
    selfies = _package()
    try:
        text = selfies.encoder(smiles)
        back = selfies.decoder(text)
    except (selfies.EncoderError, selfies.DecoderError):
        return None
    with quiet():
        given, found = molecule(smiles), molecule(back)
    write = chemistry().MolToSmiles
    return text if given is not None and found is not None and write(given) == write(found) else None


def list_line(smiles: str, name: str, ending: str) -> str | None:
    """A line of a list with this ending; None where it cannot be written there."""
    text = smiles if ending == ".smi" else to_selfies(smiles)
    return None if text is None else f"{text} {name}\n"


def no_words(count: int) -> list[str]:
    """What is told of molecules that a list could not hold."""
    return [f"{count:,} of them have no SELFIES and are not in the file"] if count else []


def _package() -> Any:
    try:
        import selfies
    except ImportError:
        raise ValueError("this is SELFIES, for which: pip install 'xlstm-apps[selfies]'") from None
    return selfies
