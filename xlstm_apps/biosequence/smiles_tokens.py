"""SMILES cut into tokens: two-letter elements inside brackets, one- and two-letter atoms outside, nothing dropped."""

import re
from collections.abc import Mapping

from .alphabets import AROMATIC, CHIRALITY, ELEMENTS

# Outside brackets "Sc" is a sulphur bound to an aromatic carbon, and "Cn" a carbon bound to a nitrogen; only the
# organic subset may stand there. So brackets are found first, and cut by rules of their own.
_PIECE = re.compile(r"\[[^\[\]]*\]|Br|Cl|[BCNOPSFIbcnops().\-=#$:/\\+%*~<>0-9]")
_INSIDE = re.compile(
    "|".join(sorted(map(re.escape, (*ELEMENTS, *AROMATIC, *CHIRALITY)), key=len, reverse=True)) + r"|[0-9+\-:*#]"
)


class UnknownTokenError(ValueError):
    """A string with what no token writes.

    Attributes:
        symbol: The first of it, to count by.
    """

    def __init__(self, symbol: str, said: str) -> None:
        super().__init__(said)
        self.symbol = symbol


class SmilesCutter:
    """Token ids of SMILES strings.

    Args:
        ids: id of every token.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = ids
        # Few bracket atoms make up nearly all there are, so each is cut once.
        self._cut: dict[str, tuple[int, ...]] = {
            token: (i,) for token, i in ids.items() if len(token) == 1 or token in ("Br", "Cl")
        }

    def __call__(self, text: str) -> list[int]:
        """Ids of the tokens.

        Raises:
            UnknownTokenError: a character that no SMILES holds at its place; names it.
        """
        out: list[int] = []
        length = 0
        for piece in _PIECE.findall(text):
            length += len(piece)
            found = self._cut.get(piece)
            out += self._bracket(piece, text) if found is None else found
        if length != len(text):
            raise _what_is_wrong(text)
        return out

    def _bracket(self, piece: str, text: str) -> tuple[int, ...]:
        tokens = _INSIDE.findall(piece)
        if sum(map(len, tokens)) + 2 != len(piece):
            raise _what_is_wrong(text)
        found = (self._ids["["], *(self._ids[token] for token in tokens), self._ids["]"])
        if len(self._cut) < 100_000:
            self._cut[piece] = found
        return found


def _what_is_wrong(text: str) -> UnknownTokenError:
    """The first character that could not be read, and where."""
    place = 0
    while match := _PIECE.match(text, place):
        if match.end() - match.start() > 2:  # a bracket
            inner = match.start() + 1
            while inner < match.end() - 1:
                found = _INSIDE.match(text, inner, match.end() - 1)
                if found is None:
                    return _says(text, inner, "inside brackets stand elements, isotopes, chirality, H and charges")
                inner = found.end()
        place = match.end()
    if text[place] == "[":
        return _says(text, place, "the bracket is not closed")
    return _says(text, place, "outside brackets stand B C N O P S F Cl Br I, aromatic b c n o p s, bonds and rings")


def _says(text: str, place: int, why: str) -> UnknownTokenError:
    return UnknownTokenError(text[place], f"not SMILES: {text[place]!r} at position {place + 1}: {why}")
