"""From a record to ids by policy, everything counted: ambiguity codes, lower case, what cannot be read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from .codes import NO_ID, Codes
from .config import SequencePolicy
from .looks_like import misfit
from .mutations import THREE_LETTERS, three_letters
from .quality import QualityReport
from .record import Record

_CHUNK = 1 << 22
_SAMPLE = 1 << 20
_LOWER = np.arange(ord("a"), ord("z") + 1)
_GAPS = np.frombuffer(b"-.", np.uint8)
_UNAVAILABLE = b"Sequenceunavailable"
"""What BioMart writes for a sequence that it does not have."""
Encode = Callable[[np.ndarray], np.ndarray]
Curate = Callable[[Iterable[Record], QualityReport], Iterator[Record]]
"""What makes records ready for an alphabet, such as canonical SMILES of molecules, and counts what it leaves out."""


@dataclass(slots=True)
class Clean:
    """A record as ids."""

    record: Record
    ids: np.ndarray
    """uint8 [T]"""
    mask: np.ndarray | None
    """Soft-masked symbols: bool [T]; None where there are none."""


def clean_records(
    records: Iterable[Record],
    codes: Codes,
    policy: SequencePolicy,
    report: QualityReport,
    encode: Encode | None = None,
    curate: Curate | None = None,
) -> Iterator[Clean]:
    """Records as ids, those that the policy keeps; `report` is filled on the way.

    Args:
        encode: bytes to ids, for alphabets whose symbols are not single bytes.
        curate: what is done to the records first.

    Raises:
        ValueError: the first megabyte looks like another alphabet; a record has what the policy calls an error; two
            records share a name, told at the end with their count.
    """
    assert codes.bytewise or encode is not None, f"the {codes.name} alphabet needs an encoder"
    report.alphabet = codes.name
    seen: dict[str, int] = {}
    cleaner = _Cleaner(codes, policy, report, encode)
    repeated: list[str] = []
    records = _checked_kind(iter(records), codes)
    for number, record in enumerate(records if curate is None else curate(records, report), 1):
        report.records += 1
        if record.source and record.source not in report.sources:
            report.sources.append(record.source)
        if record.sequence in (b"", _UNAVAILABLE):
            report.leave_out("empty", record.where())
            continue
        if not record.id:
            report.unnamed += 1
            record.id = f"record_{number}"
        if record.id in seen:
            if policy.duplicates == "error":
                repeated.append(record.id)
                continue
            if policy.duplicates == "first":
                report.leave_out("duplicate name", record.where())
                continue
            report.renamed += 1
            record.id = _free(record.id, seen)
        seen[record.id] = 1
        clean = cleaner(record, number)
        if clean is not None:
            report.kept += 1
            report.symbols += len(clean.ids)
            report.lengths.append(len(clean.ids))
            yield clean
    if (missing := report.missing()) is not None:
        report.notes.append(missing)
    if repeated:
        shown = ", ".join(dict.fromkeys(repeated[:5]))
        raise ValueError(
            f"{', '.join(report.sources) or 'the input'}: {len(repeated)} records share a name with another ({shown}); "
            "set duplicates to 'suffix' to rename them or 'first' to keep the first of each"
        )


def _checked_kind(records: Iterator[Record], codes: Codes) -> Iterator[Record]:
    """The records, once their first megabyte fits the alphabet."""
    first, counts = [], np.zeros(256, np.int64)
    for record in records:
        first.append(record)
        counts += count_bytes(np.frombuffer(record.sequence[:_SAMPLE], np.uint8))
        if counts.sum() >= _SAMPLE:
            break
    advice = misfit(counts, codes.name)
    if advice is not None:
        source = first[0].source
        raise ValueError(f"{source + ': ' if source else ''}{advice}")
    return chain(first, records)


class _Cleaner:
    """One record after another, with the tables made once."""

    def __init__(self, codes: Codes, policy: SequencePolicy, report: QualityReport, encode: Encode | None) -> None:
        self.codes, self.policy, self.report, self.encode = codes, policy, report, encode
        self.wildcard = codes.unk if codes.wildcard is None else codes.wildcard
        if not codes.bytewise:
            return
        self.table, exact = codes.byte_table, codes.exact_table
        self.plain = np.isin(exact, codes.definite) & (exact != NO_ID)  # bytes that need no look at any policy
        self.vague = np.zeros(256, bool)
        self.vague[list(codes.choices)] = True
        self.several = {byte: ids for byte, ids in codes.choices.items() if len(ids) < len(codes.definite)}
        folded = np.arange(256)
        if codes.fold_case:
            folded[_LOWER] -= 32
        self.synonym = (exact[folded] == NO_ID) & (self.table != NO_ID) & ~self.vague

    def __call__(self, record: Record, number: int) -> Clean | None:
        raw = np.frombuffer(record.sequence, np.uint8)
        if self.codes.name == "protein" and three_letters(record.sequence[:60].decode("latin-1")):
            if self.policy.on_bad == "error":
                raise ValueError(f"{record.where()}: {THREE_LETTERS}")
            self.report.leave_out("three letters for each residue", record.where())
            return None
        if self.codes.name == "protein" and raw[-1] == ord("*"):
            raw = raw[:-1]
            self.report.stops_stripped += 1
        if self.codes.name == "protein" and np.isin(raw, _GAPS).any():  # a row of an alignment
            raw = raw[~np.isin(raw, _GAPS)]
            record.sequence = raw.tobytes()
            self.report.gapped += 1
        if self.encode is not None:
            return self._encoded(record, raw, self.encode)
        if not self._fits(record, len(raw)):
            return None
        ids, counts, report = self.table[raw], count_bytes(raw), self.report
        if counts[self.plain].sum() == len(raw):
            report.letters += counts
            report.definite += len(raw)
            return Clean(record, ids, None)
        if not self._readable(record, counts, ids) or not self._unambiguous(record, raw, counts, ids, number):
            return None
        mask = self._soft_mask(raw, ids, counts)
        # Counted once it is sure that the record is kept.
        report.letters += counts
        report.ambiguous.update({chr(b).upper(): int(counts[b]) for b in np.flatnonzero(self.vague & (counts > 0))})
        report.ambiguous_records += bool(counts[self.vague].any())
        report.synonyms += int(counts[self.synonym].sum())
        report.definite += int(count_bytes(ids)[list(self.codes.definite)].sum())
        return Clean(record, ids, mask)

    def _encoded(self, record: Record, raw: np.ndarray, encode: Encode) -> Clean | None:
        try:
            ids = encode(raw)
        except ValueError as e:
            if self.policy.on_bad == "skip":
                self.report.leave_out("bad characters", f"{record.where()}: {e}")
                self.report.bad_characters.update([getattr(e, "symbol", "?")])
                return None
            raise ValueError(f"{record.where()}: {e}; set on_bad to 'skip' to leave such records out") from None
        if not self._fits(record, len(ids)):
            return None
        self.report.letters += count_bytes(raw)
        self.report.definite += len(ids)
        return Clean(record, ids, None)

    def _readable(self, record: Record, counts: np.ndarray, ids: np.ndarray) -> bool:
        """Whether the record goes on: all bytes have an id, or `fix` gives them one, in `ids`."""
        bad = np.flatnonzero((self.table == NO_ID) & (counts > 0))
        if bad.size == 0:
            return True
        place = int((ids == NO_ID).argmax())
        text = f"{_character(record.sequence, place)} at position {place + 1} is not of the {self.codes.name} alphabet"
        if self.policy.on_bad == "error":
            raise ValueError(f"{record.where()}: {text}; set on_bad to 'skip' or 'fix'")
        self.report.bad_characters.update({chr(b) if b < 128 else f"byte 0x{b:02x}": int(counts[b]) for b in bad})
        if self.policy.on_bad == "skip":
            self.report.leave_out("bad characters", f"{record.where()}: {text}")
            return False
        self.report.example(f"{record.where()}: {text}")
        ids[ids == NO_ID] = self.wildcard
        return True

    def _unambiguous(self, record: Record, raw: np.ndarray, counts: np.ndarray, ids: np.ndarray, number: int) -> bool:
        """Whether the record goes on; codes for several symbols, but not the wildcard, are settled in `ids`."""
        found = [byte for byte in sorted(self.several) if counts[byte]]
        if not found or self.policy.ambiguous == "wildcard":
            return True
        if self.policy.ambiguous == "sample":
            rng = np.random.default_rng((self.policy.seed, number))
            for byte in found:
                places = np.flatnonzero(raw == byte)
                ids[places] = rng.choice(self.several[byte], len(places))
            return True
        place = int(np.isin(raw, found).argmax())
        text = f"{record.where()}: ambiguity code {chr(raw[place])!r} at position {place + 1}"
        if self.policy.ambiguous == "error":
            raise ValueError(f"{text}; set ambiguous to 'wildcard', 'sample' or 'skip'")
        self.report.leave_out("ambiguous", text)
        return False

    def _fits(self, record: Record, length: int) -> bool:
        least, most = self.policy.min_length, self.policy.max_length
        if length < least:
            self.report.leave_out(f"shorter than {least}", record.where())
        elif most is not None and length > most:
            self.report.leave_out(f"longer than {most}", record.where())
        else:
            return True
        return False

    def _soft_mask(self, raw: np.ndarray, ids: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
        lower = int(counts[_LOWER].sum()) if self.codes.fold_case else 0
        self.report.soft_masked += lower
        if lower == 0 or self.policy.softmask == "ignore":
            return None
        mask = (raw >= _LOWER[0]) & (raw <= _LOWER[-1])
        if self.policy.softmask == "weight":
            return mask
        ids[mask] = self.wildcard
        return None


def _character(sequence: bytes, place: int) -> str:
    """The character at a byte, whole where it is UTF-8."""
    if sequence[place] < 128:
        return repr(chr(sequence[place]))
    text = sequence[place : place + 4].decode("utf-8", errors="ignore")
    return repr(text[0]) if text else f"byte 0x{sequence[place]:02x}"


def _free(name: str, seen: dict[str, int]) -> str:
    """The name with the first number that is free; `seen` remembers where to look on."""
    while True:
        seen[name] += 1
        numbered = f"{name}_{seen[name]}"
        if numbered not in seen:
            return numbered


def count_bytes(raw: np.ndarray) -> np.ndarray:
    """How often each byte occurs, in pieces, since `bincount` widens its input eightfold: int64 [256]."""
    counts = np.zeros(256, np.int64)
    for begin in range(0, len(raw), _CHUNK):
        counts += np.bincount(raw[begin : begin + _CHUNK], minlength=256)
    return counts
