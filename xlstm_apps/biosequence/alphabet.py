"""An alphabet: which symbols there are, their ids, what stands for what, and what pairs with what. Knows no torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

#: Entry of the byte tables for a byte that has no id. No symbol of any alphabet has this id.
NO_ID = 255


@dataclass(frozen=True, kw_only=True)
class Alphabet:
    """Symbols and specials with their ids, and every table made of them. Saved beside the weights as JSON.

    The byte tables are there for alphabets whose symbols are single bytes (`bytewise`), which is all of them but
    SMILES. Ids of specials are never those of a symbol, so none of them can stand in for one in a loss or a filter.

    Raises:
        ValueError: ids out of range, or a special that is a symbol too.
    """

    name: str
    tokens: tuple[str, ...]
    """What each id is written as: specials in brackets, symbols as in a file."""
    pad: int
    """Id of padding."""
    bos: int
    """Id of the begin of a record."""
    eos: int
    """Id of the end of a record; which one says that a sequence is complete, see `end`."""
    mask: int
    """Id of a masked position."""
    unk: int
    """Id of what cannot be read."""
    specials: tuple[int, ...]
    """Ids of all specials, the five above and those a published vocabulary has beside them."""
    definite: tuple[int, ...]
    """Ids of symbols that say exactly one thing: what random replacement draws from and scores are taken over."""
    wildcard: int | None = None
    """Id of the symbol for any other, such as N; None where there is none."""
    separator: int | None = None
    """Id between the members of a set; None where the alphabet has none."""
    fold_case: bool = False
    """Lower case is the same symbol, marked (soft-masking)."""
    synonyms: Mapping[str, str] = field(default_factory=dict)
    """Characters read as a symbol, without loss of meaning: U as T."""
    ambiguity: Mapping[str, str] = field(default_factory=dict)
    """Characters for one of several symbols, and which: R is A or G."""
    pairs: Mapping[str, str] | None = None
    """Complement of every character, ambiguity codes too; None where there is no second strand."""
    bytewise: bool = True
    """Whether every symbol is one byte."""

    def __post_init__(self) -> None:
        if len(self.tokens) > 256:
            raise ValueError(f"alphabet {self.name!r} has {len(self.tokens)} tokens; ids are bytes, so 256 at most")
        named = (self.pad, self.bos, self.eos, self.mask, self.unk)
        if len(set(named)) != 5 or not set(named) <= set(self.specials):
            raise ValueError(
                f"alphabet {self.name!r}: pad, bos, eos, mask and unk are five ids, all among the specials"
            )
        symbols = set(self.definite) | ({self.wildcard} - {None})
        if symbols & set(self.specials) or not max(*self.specials, *symbols) < len(self.tokens):
            raise ValueError(f"alphabet {self.name!r}: an id is a special or a symbol, and below {len(self.tokens)}")

    def __len__(self) -> int:
        return len(self.tokens)

    def __hash__(self) -> int:
        return hash(self.sha)

    @property
    def end(self) -> int:
        """Id behind the last symbol of a complete sequence: `eos`; or the begin of the next one, where it is what parts
        the members of a set, as homologs in the vocabulary of Prot-xLSTM."""
        return self.bos if self.separator == self.bos else self.eos

    @cached_property
    def symbols(self) -> dict[str, int]:
        """Id of every symbol, specials left out."""
        special = set(self.specials)
        return {token: i for i, token in enumerate(self.tokens) if i not in special}

    @cached_property
    def exact_table(self) -> np.ndarray:
        """Id of every byte that is written as a symbol is, else `NO_ID`: uint8 [256]. Decoding gives the same byte."""
        table = np.full(256, NO_ID, np.uint8)
        for token, i in self.symbols.items():
            table[_byte(token)] = i
        return table

    @cached_property
    def byte_table(self) -> np.ndarray:
        """Id of every byte that can be read: lower case folded, synonyms resolved, ambiguity codes read as the
        wildcard; else `NO_ID`: uint8 [256]."""
        table = self.exact_table.copy()
        for char, symbol in self.synonyms.items():
            table[_byte(char)] = self.symbols[symbol]
        if self.wildcard is not None:
            for char in self.ambiguity:
                table[_byte(char)] = self.wildcard
        if self.fold_case:
            for upper in range(ord("A"), ord("Z") + 1):
                if table[upper + 32] == NO_ID:
                    table[upper + 32] = table[upper]
        return table

    @cached_property
    def choices(self) -> dict[int, np.ndarray]:
        """Ids an ambiguous byte may stand for, by byte, both cases where case is folded: uint8 [n]."""
        out = {}
        for char, members in self.ambiguity.items():
            ids = np.array([self.symbols[m] for m in members], np.uint8)
            for written in {char, char.lower()} if self.fold_case else {char}:
                out[_byte(written)] = ids
        return out

    @cached_property
    def complement(self) -> np.ndarray | None:
        """Id of the pairing symbol, specials their own: uint8 [vocabulary]; None where there is no second strand."""
        if self.pairs is None:
            return None
        table = np.arange(len(self.tokens), dtype=np.uint8)
        for token, i in self.symbols.items():
            table[i] = self.symbols[self.pairs[token]]
        return table

    @cached_property
    def sha(self) -> str:
        """Hash of all that fixes the meaning of an id: hexadecimal, 64 digits."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content, from which `from_dict` makes the alphabet again."""
        content = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Alphabet":
        """The alphabet of `to_dict`."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})

    def reverse_complement(self, ids: np.ndarray) -> np.ndarray:
        """Ids of the other strand, read in its own direction: uint8 [..., T].

        Raises:
            ValueError: the alphabet has no second strand.
        """
        if self.complement is None:
            raise ValueError(f"the {self.name} alphabet has no reverse complement; only DNA has")
        return self.complement[ids[..., ::-1]]


def _byte(char: str) -> int:
    return char.encode("latin-1")[0]
