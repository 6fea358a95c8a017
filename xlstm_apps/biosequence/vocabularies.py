"""The alphabet of a model: one of this package, or the tokens that a published model of molecules learned from data.

Published Chem-xLSTM numbers its tokens in the order in which its training data showed them. Brackets, elements, digits
and each `@` are tokens, and so are ring numbers such as `%10`; the dot parts the molecules of a set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .alphabet import Alphabet
from .alphabets import get_alphabet
from .smiles_tokens import UnknownTokenError

if TYPE_CHECKING:
    from .config import SequenceConfig

_NAMED = ("[PAD]", "[BEG]", "[END]")
_SYMBOL = re.compile(r"[A-Z][a-z]?(?<![BCNOPSF][cnops])|%\d\d")
"""What is one token though it is not one character; a carbon before an aromatic nitrogen is two."""
_SPECIAL = re.compile(r"\[(PAD|BEG|END|UNK|MASK|SEP|unused \d+)\]")


class LearnedSmiles(Alphabet):
    """Tokens of SMILES in an order of their own. There is none for what is unknown or hidden: their ids are padding's,
    and no string is read with them."""

    def __post_init__(self) -> None:
        if len(self.tokens) > 256:
            raise ValueError(f"sequence.vocabulary has {len(self.tokens)} tokens; ids are bytes, so 256 at most")

    def cutter(self) -> VocabularyCutter:
        """Cuts strings into these tokens."""
        return VocabularyCutter(self.symbols)


class VocabularyCutter:
    """Token ids of SMILES strings, the longest token that fits first.

    Args:
        ids: id of every token.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = ids
        self._token = re.compile("|".join(map(re.escape, sorted(ids, key=len, reverse=True))))

    def __call__(self, text: str) -> list[int]:
        """Ids of the tokens.

        Raises:
            UnknownTokenError: no token of the vocabulary begins somewhere; says where.
        """
        found = self._token.findall(text)
        if sum(map(len, found)) == len(text):
            return [self._ids[token] for token in found]
        place = 0
        while match := self._token.match(text, place):
            place = match.end()
        symbol = _SYMBOL.match(text, place)
        found = text[place] if symbol is None else symbol[0]
        raise UnknownTokenError(
            found,
            f"{found!r} at position {place + 1} is no token of this model, which learned {len(self._ids)} from "
            "its data; data.stereo strip and data.salts largest may take such ones away",
        )


@lru_cache(maxsize=8)
def learned_smiles(tokens: tuple[str, ...]) -> LearnedSmiles:
    """The alphabet of these tokens, in the order of their ids.

    Raises:
        ValueError: two that are the same, or none for padding, begin or end.
    """
    ids = {token: n for n, token in enumerate(tokens)}
    missing = [name for name in _NAMED if name not in ids]
    if missing or len(ids) < len(tokens):
        why = f"has no {', '.join(missing)}" if missing else "names a token twice"
        raise ValueError(f"sequence.vocabulary {why}; it lists each token once, with {', '.join(_NAMED)} among them")
    pad, begin, end = (ids[name] for name in _NAMED)
    specials = [n for token, n in ids.items() if _SPECIAL.fullmatch(token)]
    return LearnedSmiles(
        name="smiles",
        tokens=tokens,
        pad=pad,
        bos=begin,
        eos=end,
        mask=pad,
        unk=pad,
        specials=tuple(specials),
        definite=tuple(n for n in range(len(tokens)) if n not in specials),
        bytewise=False,
    )


def vocabulary_of(labels: Mapping[str, Any], size: int) -> tuple[str, ...]:
    """Tokens in the order of the ids that a published model gives them; ids that it never used have a name in brackets.

    Args:
        labels: Id of every token.
        size: Rows of its embedding.

    Raises:
        ValueError: Ids that are no numbers below `size`, or two tokens of one id.
    """
    names: dict[int, str] = {}
    for token, label in labels.items():
        if not isinstance(label, int) or not 0 <= label < size or label in names:
            raise ValueError(
                f"token2label: {token!r} has id {label!r}; ids are numbers below {size}, one for each token"
            )
        names[label] = token
    return tuple(names.get(n, f"[unused {n}]") for n in range(size))


def alphabet_of(sequence: SequenceConfig) -> Alphabet:
    """The alphabet of a model of these settings.

    Raises:
        ValueError: A vocabulary that makes none.
    """
    if sequence.vocabulary is not None:
        return learned_smiles(sequence.vocabulary)
    return get_alphabet(sequence.alphabet, sets=sequence.sets)


def written_alphabet(sequence: SequenceConfig) -> Alphabet:
    """The same for the files that a corpus is built from, which serves models of single molecules and of sets alike."""
    return alphabet_of(sequence) if sequence.vocabulary is not None else get_alphabet(sequence.alphabet)
