"""Text to ids and back, without loss: what cannot be given back as it was is refused, with the character's place."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from .alphabet import NO_ID, Alphabet
from .alphabets import get_alphabet
from .smiles_tokens import SmilesCutter
from .vocabularies import LearnedSmiles, VocabularyCutter


class Tokenizer:
    """Ids of one alphabet.

    `encode` is strict: `decode(encode(s)) == s`, or a `ValueError`. What a file may hold beyond that, such as lower
    case or ambiguity codes, is for `fold`, which says what it makes of it, and for the readers, which count it.

    Args:
        alphabet: the symbols and their ids.
    """

    def __init__(self, alphabet: Alphabet) -> None:
        self.alphabet = alphabet
        self.name = alphabet.name
        self.vocab_size = len(alphabet)
        self.pad_id, self.bos_id, self.eos_id = alphabet.pad, alphabet.bos, alphabet.eos
        self.mask_id, self.unk_id, self.separator_id = alphabet.mask, alphabet.unk, alphabet.separator
        self._special = np.zeros(256, bool)
        self._special[list(alphabet.specials)] = True
        self._bytes: np.ndarray | None = None
        self._cutter: SmilesCutter | VocabularyCutter | None = None
        if alphabet.bytewise:
            self._bytes = np.zeros(256, np.uint8)
            self._bytes[list(alphabet.symbols.values())] = [ord(symbol) for symbol in alphabet.symbols]
        else:
            learned = isinstance(alphabet, LearnedSmiles)
            self._cutter = alphabet.cutter() if learned else SmilesCutter(alphabet.symbols)

    def encode(self, text: str) -> list[int]:
        """Ids of a string; no special is added.

        Raises:
            ValueError: a character without an id; names it and its place, counted from 1.
        """
        if self._cutter is not None:
            return self._cutter(text)
        try:
            raw = self._raw(text)
        except UnicodeEncodeError as e:
            raise ValueError(self._refusal(text[e.start], e.start)) from None
        return self._look_up(raw, self.alphabet.exact_table).tolist()

    def encode_bytes(self, raw: np.ndarray) -> np.ndarray:
        """Ids of a string of bytes, as one look-up: uint8 [T] -> uint8 [T]; fewer ids than bytes in SMILES.

        Raises:
            ValueError: a byte without an id; names it and its place, counted from 1.
        """
        if self._cutter is not None:
            return np.array(self._cutter(raw.tobytes().decode("latin-1")), np.uint8)
        return self._look_up(raw, self.alphabet.exact_table)

    def fold(self, raw: np.ndarray) -> np.ndarray:
        """Ids of bytes as files hold them: lower case as upper, U as T, ambiguity codes as the wildcard.

        Raises:
            ValueError: a byte that cannot be read.
        """
        if self._cutter is not None:
            return self.encode_bytes(raw)
        return self._look_up(raw, self.alphabet.byte_table)

    def fold_text(self, text: str) -> np.ndarray:
        """The same of a string: uint8 [T].

        Raises:
            ValueError: a character that cannot be read; names it and its place, counted from 1.
        """
        if self._cutter is not None:
            return np.array(self._cutter(text), np.uint8)
        try:
            return self.fold(self._raw(text))
        except UnicodeEncodeError as e:
            raise ValueError(self._refusal(text[e.start], e.start)) from None

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of several strings.

        Raises:
            ValueError: as `encode`, with the number of the string, counted from 1.
        """
        out = []
        for number, text in enumerate(texts, 1):
            try:
                out.append(self.encode(text))
            except ValueError as e:
                raise ValueError(f"string {number}: {e}") from None
        return out

    def decode(self, ids: Sequence[int] | np.ndarray, *, specials: bool = False) -> str:
        """The string of ids.

        Args:
            ids: token ids [T], a list, an array or a tensor.
            specials: write specials by name, such as [MASK]; False leaves them out.

        Raises:
            ValueError: a number that is no id.
        """
        array = np.asarray(ids).reshape(-1)
        if array.size == 0:
            return ""
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= self.vocab_size:
            raise ValueError(f"ids of the {self.name} alphabet are whole numbers from 0 to {self.vocab_size - 1}")
        if not specials:
            array = array[~self._special[array]]
        if self._bytes is not None and not specials:  # what a model makes up need not be UTF-8
            return self._bytes[array].tobytes().decode("utf-8", errors="replace")
        if self.name != "text":
            return "".join([self.alphabet.tokens[i] for i in array.tolist()])
        parts = [self.alphabet.tokens[i].encode() if self._special[i] else bytes([i]) for i in array.tolist()]
        return b"".join(parts).decode("utf-8", errors="replace")

    def _raw(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode("utf-8" if self.name == "text" else "latin-1"), np.uint8)

    def _look_up(self, raw: np.ndarray, table: np.ndarray) -> np.ndarray:
        ids = table[raw]
        bad = ids == NO_ID
        if bad.any():
            place = int(bad.argmax())
            raise ValueError(self._refusal(chr(raw[place]), place))
        return ids

    def _refusal(self, char: str, place: int) -> str:
        alphabet = self.alphabet
        where = f"{char!r} at position {place + 1} is no symbol of the {alphabet.name} alphabet"
        if alphabet.fold_case and char.islower() and char.upper() in alphabet.symbols:
            return f"{where}; it is upper case, so give text.upper()"
        if char in alphabet.synonyms:
            return f"{where}; write {alphabet.synonyms[char]} in its place"
        if char.upper() in alphabet.ambiguity and alphabet.wildcard is not None:
            return f"{where}; write {alphabet.tokens[alphabet.wildcard]} for what is not known"
        if alphabet.name == "text":
            return f"{where}; it cannot be written in UTF-8"
        return f"{where}, which has {' '.join(alphabet.symbols)}"


def file_encoder(alphabet: Alphabet) -> Callable[[np.ndarray], np.ndarray] | None:
    """What a corpus needs beside the tables of an alphabet whose symbols are not single bytes: uint8 [T] of a file ->
    ids; None where the tables do."""
    return None if alphabet.bytewise else Tokenizer(alphabet).encode_bytes


def get_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of `dna`, `protein`, `smiles` or `text`.

    Raises:
        ValueError: no alphabet of that name.
    """
    return Tokenizer(get_alphabet(name))
