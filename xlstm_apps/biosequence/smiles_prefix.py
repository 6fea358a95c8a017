"""The beginning of a SMILES string: what may follow by the grammar, and short ways to bring it to an end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

from .alphabets import AROMATIC, ELEMENTS

ORGANIC = frozenset(("B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I"))
"""Atoms that stand outside brackets; those of `LOWER` are aromatic."""
LOWER = frozenset("bcnops")
BONDS = frozenset("-=#/\\")
DIGITS = frozenset("0123456789")
_SYMBOLS = frozenset((*ELEMENTS, *AROMATIC))
_LATE = (0, 1, 3, 4)
"""How late an option is looked at."""
_MOST_LAYOUTS = 48
"""Ways to close several rings that are looked at."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What of the string so far decides how it may go on. Bonds of any kind, dative bonds, reactions, atom maps and the
    atom of any kind are never begun here.

    `place` says what was read last: `start` (nothing, or a dot), `atom`, `bond`, `branch` (an opening parenthesis),
    `percent` and `percent_digit` (of a ring number), or within brackets `open`, `isotope`, `symbol`, `chiral`,
    `hydrogen`, `hydrogens`, `charge` and `charges`.
    """

    text: str = ""
    place: str = "start"
    aromatic: bool = False
    """Whether the atom that is gone on from is."""
    branches: tuple[bool, ...] = ()
    """The same of atoms that open branches return to."""
    rings: tuple[tuple[int, bool, int], ...] = ()
    """Numbers of open rings, the newest last, the same of their atoms, and how many branches were open there."""
    fresh: int = 0
    """How many of the newest rings begin at the last atom."""
    digits: int = 0
    """Of an isotope; or the first of a ring number."""

    @property
    def may_end(self) -> bool:
        """Whether nothing is open."""
        return self.place == "atom" and not self.branches and not self.rings

    def push(self, token: str) -> Prefix | None:
        """The string with one token more; None where the grammar forbids it."""
        following = self._bracketed(token) if self.place in _WITHIN else self._plain(token)
        return None if following is None else replace(following, text=self.text + token)

    def _plain(self, token: str) -> Prefix | None:
        place = self.place
        if place in ("percent", "percent_digit"):
            if token not in DIGITS:
                return None
            if place == "percent":
                return replace(self, place="percent_digit", digits=int(token)) if token != "0" else None
            return self._ring(10 * self.digits + int(token))
        if token in ORGANIC or token in LOWER:
            return replace(self, place="atom", aromatic=token in LOWER, fresh=0)
        if token == "[":
            return replace(self, place="open", fresh=0, digits=0)
        if token in BONDS:
            return replace(self, place="bond") if place in ("atom", "branch") else None
        if token in DIGITS:
            return self._ring(int(token)) if place in ("atom", "bond") else None
        if token == "%":
            return replace(self, place="percent") if place in ("atom", "bond") else None
        if place != "atom":
            return None
        if token == "(":
            return replace(self, place="branch", branches=(*self.branches, self.aromatic))
        if token == ")" and self.branches:
            return replace(self, aromatic=self.branches[-1], branches=self.branches[:-1], fresh=0)
        if token == "." and not self.branches and not self.rings:
            return replace(self, place="start")
        return None

    def _ring(self, number: int) -> Prefix:
        left, fresh = tuple(ring for ring in self.rings if ring[0] != number), self.fresh
        if len(left) == len(self.rings):
            left, fresh = (*self.rings, (number, self.aromatic, len(self.branches))), fresh + 1
        return replace(self, place="atom", rings=left, fresh=fresh)

    def _bracketed(self, token: str) -> Prefix | None:
        place = self.place
        if place in ("open", "isotope"):
            if token in DIGITS:
                if self.digits == 3 or (token == "0" and self.digits == 0):
                    return None
                return replace(self, place="isotope", digits=self.digits + 1)
            return replace(self, place="symbol", aromatic=token in AROMATIC) if token in _SYMBOLS else None
        if token == "]":
            return replace(self, place="atom")
        order = _WITHIN.index(place)
        if token in ("@", "@@"):
            return replace(self, place="chiral") if order < _WITHIN.index("chiral") else None
        if token == "H":
            return replace(self, place="hydrogen") if order < _WITHIN.index("hydrogen") else None
        if token in ("+", "-"):
            return replace(self, place="charge") if order < _WITHIN.index("charge") else None
        if token in DIGITS and token not in "01" and place in ("hydrogen", "charge"):
            return replace(self, place="hydrogens" if place == "hydrogen" else "charges")
        return None

    def endings(self, before: list[str]) -> Iterator[list[str]]:
        """Token sequences that may bring it to an end, likely ones first; some come twice.

        Args:
            before: The ending that the string had one token ago.
        """
        if self.place in _WITHIN:
            rest = before[before.index("]") + 1 :] if "]" in before else before
            variants = [rest, *_edited(rest)]
        else:
            variants = [before[1:], before, *_edited(before[1:]), *_edited(before)]
        heads = [(head, at) for head in self._heads() if (at := self.push_all(head)) is not None]
        for head, at in heads:
            for begin in ([], *at._new_rings(), *([["C"]] if at.aromatic else [])):
                for variant in variants:
                    yield [*head, *begin, *variant]
        for head, at in heads:
            for tail in at._tails():
                yield [*head, *tail]

    def push_all(self, tokens: Sequence[str]) -> Prefix | None:
        """The string with several tokens more; None where the grammar forbids one."""
        at: Prefix | None = self
        for token in tokens:
            at = at.push(token)
            if at is None:
                return None
        return at

    def _heads(self) -> list[list[str]]:
        """Ways to come to an atom."""
        if self.place == "atom":
            return [[]]
        if self.place in ("start", "branch"):
            return [["C"], ["c"]]
        if self.place == "bond":
            return [["C"], ["O"], ["N"], ["c"]]
        if self.place in ("percent", "percent_digit"):
            ways = [[str(n)] for n in range(10)] if self.place == "percent_digit" else []
            return ways or [["1", str(n)] for n in range(10)]
        if self.place in ("open", "isotope"):
            return [["C", "]"], ["c", "]"], ["n", "H", "]"], ["N", "+", "]"]]
        return [["]"], ["H", "]"], ["+", "]"]] if self.place not in ("charge", "charges") else [["]"]]

    def _tails(self) -> Iterator[list[str]]:
        """Ways to close branches and rings, from an atom."""
        for begin in ([], *self._new_rings(), ["(", "C", ")"], ["(", "=", "O", ")"] if self.rings else ["=", "O"]):
            for closing in self._closings():
                yield [*begin, *closing]
        for end in (["=", "O"], ["C"], ["c"]):
            for level in range(len(self.branches), 0, -1):
                yield [*[")"] * level, *end, *[")"] * (len(self.branches) - level)]

    def _new_rings(self) -> list[list[str]]:
        """Aromatic rings of six and of five that begin at the last atom, whose own may not have begun."""
        if not self.aromatic:
            return []
        used = {number for number, _, _ in self.rings}
        mark = _mark(next(number for number in range(1, 100) if number not in used))
        return [[*mark, *["c"] * size, *mark] for size in (5, 4)]

    def _closings(self) -> Iterator[list[str]]:
        """All rings closed on chains of carbon: each in the branch where it began, or all here; then the branches."""
        rings = self.rings[::-1]
        depth = len(self.branches)
        # One new atom or two suit either parity of an aromatic ring; one that has only begun takes five or four.
        options = [(5, 4, 3, 2) if i < self.fresh else (1, 2, 0, 3) for i in range(len(rings))]
        orders = sorted(product(range(4), repeat=min(len(rings), 5)), key=lambda n: (sum(map(_LATE.__getitem__, n)), n))
        for order in islice(orders, _MOST_LAYOUTS):
            order = (*order, *[0] * (len(rings) - len(order)))
            steps = [option[which] for option, which in zip(options, order, strict=True)]
            for here in (False, True) if depth and rings else (False,):
                out, at = [], depth
                for (number, aromatic, home), step in zip(rings, steps, strict=True):
                    if not here and home < at:
                        out += [")"] * (at - home)
                        at = home
                    out += [*["c" if aromatic else "C"] * step, *_mark(number)]
                yield [*out, *[")"] * at]


def _mark(number: int) -> list[str]:
    return [str(number)] if number < 10 else ["%", *str(number)]


def _edited(ending: list[str]) -> Iterator[list[str]]:
    """An ending with one carbon more before a ring number, or one less."""
    for place, token in enumerate(ending):
        if token in DIGITS:
            for carbon in ("c", "C"):
                yield [*ending[:place], carbon, *ending[place:]]
            if place and ending[place - 1] in ("c", "C"):
                yield [*ending[: place - 1], *ending[place:]]


_WITHIN = ("open", "isotope", "symbol", "chiral", "hydrogen", "hydrogens", "charge", "charges")
"""Places inside brackets, in their order."""
