"""A folder of sequences as ids: one file of bytes, mapped into memory, and an index. Whole or absent; safe to fork."""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .cleaning import Encode
from .codes import Codes
from .config import SequencePolicy
from .record import Record

if TYPE_CHECKING:
    from ..molecules.curation import Curator

TOKENS, MASK, INDEX, RECORDS, MANIFEST = "tokens.u8", "mask.u1", "index.npz", "records.parquet", "corpus.json"
VERSION = 2


class Corpus:
    """Sequences by number, as views into the mapped file; nothing is read before it is asked for.

    Files are opened by each process for itself: a corpus may be handed to worker processes, forked or spawned.

    Args:
        path: folder written by `Corpus.build`.

    Raises:
        ValueError: no corpus there, one of another version, or one that is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / MANIFEST).is_file():
            raise ValueError(f"{path}: no corpus here; make one with Corpus.build, or `prepare`")
        self.manifest: dict[str, Any] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        if self.manifest.get("version") != VERSION:
            raise ValueError(
                f"{path}: a corpus of version {self.manifest.get('version')}, and this program reads {VERSION}; "
                "build it again"
            )
        with np.load(self.path / INDEX) as index:
            self.offsets: np.ndarray = index["offsets"]
            self.starts, self.strands, self.weights = index["starts"], index["strands"], index["weights"]
        size = (self.path / TOKENS).stat().st_size
        if size != self.offsets[-1]:
            raise ValueError(f"{path}: {TOKENS} holds {size:,} ids, the index {self.offsets[-1]:,}; build it again")

    @staticmethod
    def build(
        records: Iterable[Record],
        path: str | Path,
        codes: Codes,
        *,
        policy: SequencePolicy | None = None,
        encode: Encode | None = None,
        curate: "Curator | None" = None,
        sources: Iterable[str | Path] = (),
        notes: Iterable[str] = (),
    ) -> "Corpus":
        """Write a corpus, in the place of one that may be there; on any error nothing changes on disk.

        Args:
            records: as `read_records` gives them; taken one at a time.
            path: folder to make.
            codes: the alphabet.
            policy: what to do with what is not as it should be; None: the defaults.
            encode: bytes to ids, for alphabets whose symbols are not single bytes: `tokenizer.encode_bytes`.
            curate: makes records of molecules canonical; what it rejects is written beside the corpus.
            sources: files the records come from, to write their sha256 down.
            notes: remarks for the quality report.

        Raises:
            ValueError: see `clean_records`; no record is left.
        """
        from .corpus_writer import write_corpus

        write_corpus(records, Path(path), codes, policy or SequencePolicy(), encode, sources, notes, curate)
        return Corpus(path)

    def move(self, path: str | Path) -> None:
        """Move the folder to another place on the same disk, where nothing lies yet."""
        for name in ("_tokens", "_mask"):  # not every system renames files that are mapped
            self.__dict__.pop(name, None)
        self.path = self.path.rename(path)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Ids of a record: uint8 [T], a read-only view."""
        index = range(len(self))[index]
        return self._tokens[self.offsets[index] : self.offsets[index + 1]]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Symbols per record: int64 [N]."""
        return np.diff(self.offsets)

    @cached_property
    def ids(self) -> list[str]:
        """Names of the records."""
        return self._table("id")

    @cached_property
    def groups(self) -> list[str | None]:
        """Groups of the records."""
        return self._table("group")

    @cached_property
    def labels(self) -> list[Any]:
        """Labels of the records: text, numbers, lists of numbers, or None."""
        return self._table("label")

    @cached_property
    def parts(self) -> list[str | None]:
        """Parts of a split that the data names for the records."""
        return self._table("part")

    @property
    def alphabet(self) -> dict[str, Any]:
        """The alphabet, as its `to_dict` wrote it."""
        return self.manifest["alphabet"]

    @property
    def report(self) -> dict[str, Any]:
        """The quality report of the build."""
        return self.manifest["quality"]

    @property
    def wildcard(self) -> int | None:
        """Id of N or X; None where the alphabet has none."""
        return self.alphabet["wildcard"]

    @cached_property
    def complement(self) -> np.ndarray | None:
        """Id of the pairing symbol: uint8 [vocabulary]; None where there is no second strand."""
        table = self.manifest["complement"]
        return None if table is None else np.array(table, np.uint8)

    def check(self, codes: Codes) -> None:
        """Make sure that ids mean here what they mean in `codes`.

        Raises:
            ValueError: they do not.
        """
        if codes.sha != self.manifest["alphabet_sha256"]:
            raise ValueError(
                f"{self.path}: built with the alphabet {self.alphabet['name']!r} of other ids than {codes.name!r} has "
                "here; build it again"
            )

    def fresh(self, codes: Codes, sources: Iterable[str | Path], policy: SequencePolicy | None = None) -> bool:
        """Whether building from these files by this policy would give this corpus again."""
        from .corpus_writer import fingerprint, policy_of

        same = self.manifest["alphabet_sha256"] == codes.sha
        same = same and self.manifest["policy"] == policy_of(policy or SequencePolicy())
        return same and list(self.manifest["sources"].values()) == [fingerprint(source) for source in sources]

    def find(self, name: str) -> int:
        """Number of the record of that name; `chr1` and `1` are the same name where only one of them is there.

        Raises:
            ValueError: no such record.
        """
        for candidate in (name, name.removeprefix("chr"), f"chr{name}", {"chrM": "MT", "MT": "chrM"}.get(name, name)):
            if candidate in self._numbers:
                return self._numbers[candidate]
        shown = ", ".join(self.ids[:5]) + (" ..." if len(self) > 5 else "")
        raise ValueError(f"no record {name!r} in {', '.join(self.manifest['sources']) or self.path}; there are {shown}")

    def fetch(self, index: int, start: int, stop: int, strand: int = 1) -> np.ndarray:
        """Ids of a stretch [start, stop) of a record, read on its other strand where `strand` is -1: uint8 [T].

        Raises:
            ValueError: the alphabet has no other strand.
        """
        base = self.offsets[index]
        ids = self._tokens[base + start : base + stop]
        if strand > 0:
            return ids
        if self.complement is None:
            raise ValueError(f"the {self.alphabet['name']} alphabet has no other strand; only DNA has")
        return self.complement[ids[::-1]]

    @property
    def has_mask(self) -> bool:
        """Whether soft-masking is kept."""
        return bool(self.manifest["soft_masked"])

    def soft_mask(self, index: int, start: int, stop: int, strand: int = 1) -> np.ndarray:
        """Whether each symbol of a stretch is soft-masked: bool [T]."""
        if not self.has_mask:
            return np.zeros(stop - start, bool)
        first = start // 8
        base = self._mask_offsets[index]
        bits = np.unpackbits(self._mask[base + first : base + -(-stop // 8)])
        found = bits[start - 8 * first : stop - 8 * first].astype(bool)
        return found if strand > 0 else found[::-1]

    @cached_property
    def _tokens(self) -> np.ndarray:
        return np.memmap(self.path / TOKENS, np.uint8, mode="r")

    @cached_property
    def _mask(self) -> np.ndarray:
        return np.memmap(self.path / MASK, np.uint8, mode="r")

    @cached_property
    def _mask_offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(-(-self.lengths // 8))])  # every record begins at a whole byte

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {name: number for number, name in enumerate(self.ids)}

    def _table(self, column: str) -> list[Any]:
        import polars as pl

        return pl.read_parquet(self.path / RECORDS, columns=[column])[column].to_list()

    def __getstate__(self) -> dict[str, Any]:
        # A mapped array would be pickled whole; the other process opens the files for itself.
        return {key: value for key, value in self.__dict__.items() if key not in ("_tokens", "_mask")}
