"""Sampling that never emits an unparsable SMILES: a token is taken only if the string can still become a molecule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .alphabets import SMILES
from .smiles_prefix import Prefix
from .smiles_tokens import SmilesCutter

_MOST_TRIES = 120
"""Endings that are looked at before a token is given up."""
_TOKENS = SMILES.tokens


@dataclass(slots=True)
class _Row:
    """A string on its way."""

    prefix: Prefix
    ending: list[str]
    """Tokens that make a molecule of it: RDKit has read it with them."""
    added: int = 0
    ended: bool = False
    barred: int | None = None
    """A token that was drawn here before and did not do."""


class ValidSmiles:
    """A constraint of `SequenceModel.generate`: whatever is drawn, RDKit reads the result as a molecule.

    A token drawn is kept if the string with it has an ending that makes it a molecule and that fits into the tokens
    left; else its probability becomes 0 and another is drawn. So the draws follow the model's own probabilities of the
    tokens that remain. Syntax, valence and aromaticity are all RDKit's judgement of string and ending. Only endings of
    a simple form are looked at; a token that can be mended in no such way is not taken, which hardly happens to
    strings as RDKit writes them.

    Raises:
        ValueError: RDKit is not installed.
    """

    def __init__(self) -> None:
        try:
            from rdkit import Chem, rdBase
        except ImportError:
            raise ValueError("valid molecules are RDKit's judgement: pip install 'xlstm-apps[chem]'") from None
        self._params = Chem.SmilesParserParams()
        self._params.parseName = self._params.allowCXSMILES = False
        self._read: Callable[..., Any] = Chem.MolFromSmiles
        self._sanitise: Callable[[Any], Any] = Chem.SanitizeMol
        self._silence: Callable[[], Any] = rdBase.BlockLogs
        self._ids = SMILES.symbols
        self._rows: list[_Row] = []
        self._resumed: list[_Row] = []
        self._most = 0
        self._masks: dict[tuple[str, bool, bool, int, int], np.ndarray] = {}
        self.least = 0
        """Tokens before which no string ends; set by `SequenceModel.generate`."""
        self.end = SMILES.end
        """Token that ends a molecule; set likewise."""

    def is_molecule(self, smiles: str) -> bool:
        """Whether RDKit reads it, as something."""
        silence = self._silence()
        found = self._reads(smiles)
        del silence
        return found

    def _reads(self, smiles: str) -> bool:
        mol = self._read(smiles, self._params) if smiles else None
        if mol is None:
            return False
        try:
            self._sanitise(
                mol
            )  # again: aromatic systems of rare form pass once, and then fail whatever is done with them
        except ValueError:
            return False
        return True

    def begin(self, prompts: Sequence[Tensor], max_new_tokens: int) -> None:
        """Take up prompts, ids [T] each; specials in them do not count.

        Raises:
            ValueError: A prompt that nothing makes a molecule of.
        """
        if self._resumed:
            self._rows, self._resumed = self._resumed, []
            return
        silence = self._silence()
        self._most, self._rows = max_new_tokens, []
        for prompt in prompts:
            tokens = _symbols(prompt)
            row = self._begun(tokens)
            if row is None:
                raise ValueError(
                    f"prompt {''.join(tokens)!r}: no molecule of at most {max_new_tokens} more tokens begins like this"
                )
            self._rows.append(row)
        del silence

    def resume(self, rows: Sequence[Tensor], given: Sequence[int], most: int) -> list[Tensor]:
        """What can be kept of strings that were drawn freely and are no molecules: all up to the first token that leads
        nowhere. The next `begin` is taken to be about these, and that token is not drawn there again, so that the whole
        is drawn as if every token had been looked at.

        Args:
            rows: Ids [T] each.
            given: How many ids of each are its prompt, specials among them, which must be one of a molecule.
            most: Most symbols to add to a prompt.
        """
        silence = self._silence()
        self._most, kept = most, []
        for ids, begin in zip(rows, given, strict=True):
            row = self._begun(_symbols(ids[:begin]))
            if row is None:
                raise ValueError(f"prompt {''.join(_symbols(ids[:begin]))!r}: no molecule begins like this")
            end = begin
            for token in ids[begin:].tolist():
                if not self._take(row, token):
                    row.barred = token
                    break
                end += 1
            self._resumed.append(row)
            kept.append(ids[:end])
        del silence
        return kept

    def choose(self, logits: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Tokens [B] drawn from logits [B, V], each such that its string can become a molecule.

        Args:
            logits: Scores before the softmax.
            draw: Logits [b, V] to tokens [b].
        """
        silence = self._silence()
        scores = logits.masked_fill(~torch.from_numpy(self._allowed()).to(logits.device), -torch.inf)
        chosen = torch.full((len(logits),), self.end, dtype=torch.long, device=logits.device)
        waiting = [i for i, row in enumerate(self._rows) if not row.ended]
        while waiting:
            drawn = draw(scores[waiting]).tolist()
            again = []
            for i, token in zip(waiting, drawn, strict=True):
                row = self._rows[i]
                if not torch.isfinite(scores[i, token]):  # nothing is left: go the way that is known
                    token = self._ids[row.ending[0]] if row.ending else self.end
                if self._take(row, token):
                    chosen[i] = token
                else:
                    scores[i, token] = -torch.inf
                    again.append(i)
            waiting = again
        del silence
        return chosen

    def accepts(self, smiles: str) -> bool:
        """Whether every token of a string would be taken in its turn, and its end."""
        silence = self._silence()
        ids = SmilesCutter(self._ids)(smiles)
        self._most, row = len(ids) + 100, _Row(Prefix(), ["C"])
        accepted = all(self._take(row, token) for token in (*ids, self.end))
        del silence
        return accepted

    def _begun(self, tokens: Sequence[str]) -> _Row | None:
        """The string of a prompt, with an ending; None where it has none."""
        prefix = Prefix().push_all(tokens)
        ending = None if prefix is None else self._ending(prefix, ["C"], self._most)
        return None if prefix is None or ending is None else _Row(prefix, ending)

    def _allowed(self) -> np.ndarray:
        """What the grammar allows each row: bool [B, V]."""
        allowed = np.stack([self._mask(row) for row in self._rows])
        for mask, row in zip(allowed, self._rows, strict=True):
            if row.barred is not None:
                mask[row.barred], row.barred = False, None
        return allowed

    def _mask(self, row: _Row) -> np.ndarray:
        prefix = row.prefix
        key = (prefix.place, bool(prefix.branches), bool(prefix.rings), prefix.digits, self.end)
        if key not in self._masks:
            mask = np.zeros(len(_TOKENS), bool)
            for token, i in self._ids.items():
                mask[i] = prefix.push(token) is not None
            mask[self.end] = prefix.may_end
            self._masks[key] = mask
        mask = self._masks[key]
        if mask[self.end] and row.added < self.least:
            mask = mask.copy()
            mask[self.end] = False
        return mask

    def _take(self, row: _Row, token: int) -> bool:
        """Let the string go on with a token, if it may."""
        if token == self.end:
            row.ended = row.prefix.may_end and (not row.ending or self._reads(row.prefix.text))
            return row.ended
        following = row.prefix.push(_TOKENS[token])
        if following is None:
            return False
        if row.ending and self._ids[row.ending[0]] == token:
            ending: list[str] | None = row.ending[1:]
        else:
            ending = self._ending(following, row.ending, self._most - row.added - 1)
        if ending is None:
            return False
        row.prefix, row.ending, row.added = following, ending, row.added + 1
        return True

    def _ending(self, prefix: Prefix, before: list[str], room: int) -> list[str] | None:
        """Tokens that make a molecule of a string, at most `room` of them; None where none are found.

        Args:
            prefix: The string.
            before: The ending it had one token ago.
            room: Most tokens.
        """
        tried: set[str] = set()
        for ending in prefix.endings(before):
            text = prefix.text + "".join(ending)
            if len(ending) > room or text in tried:
                continue
            whole = prefix.push_all(ending)
            if whole is None or not whole.may_end:
                continue
            if self._reads(text):
                return ending
            tried.add(text)
            if len(tried) == _MOST_TRIES:
                return None
        return None


def _symbols(ids: Tensor) -> list[str]:
    return [_TOKENS[i] for i in ids.tolist() if i not in SMILES.specials]
