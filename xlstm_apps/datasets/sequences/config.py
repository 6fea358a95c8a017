"""What to do with what is not as it should be in a file of sequences. Imports no torch: it is read for `--help`."""

from dataclasses import dataclass
from typing import Literal

OnBad = Literal["error", "skip", "fix"]
Duplicates = Literal["error", "suffix", "first"]
SoftMask = Literal["ignore", "weight", "wildcard"]
Ambiguous = Literal["wildcard", "sample", "skip", "error"]


@dataclass(frozen=True, kw_only=True)
class SequencePolicy:
    """How sequences are cleaned on their way into a corpus. What was done is counted in the quality report."""

    on_bad: OnBad = "error"
    """Records with characters that no sequence of the alphabet holds: `error` stops at the first, `skip` leaves the
    record out, `fix` reads the character as the wildcard (N in DNA, X in proteins)."""

    duplicates: Duplicates = "error"
    """Records of one name: `error` stops and lists them, `suffix` names the second id_2, `first` keeps the first."""

    softmask: SoftMask = "weight"
    """Lower case: `weight` keeps it beside the sequence, so that training may weigh it down; `ignore` forgets it;
    `wildcard` reads it as N."""

    ambiguous: Ambiguous = "wildcard"
    """Codes for several symbols, such as R for A or G: `wildcard` reads them as N, `sample` draws one of the symbols,
    `skip` leaves the record out, `error` stops. N itself is left as it is."""

    min_length: int = 1
    """Shorter records are left out."""

    max_length: int | None = None
    """Longer records are left out, and counted. None: any length."""

    seed: int = 0
    """Seed of `ambiguous: sample`."""

    def __post_init__(self) -> None:
        if self.min_length < 1:
            raise ValueError(f"min_length is a number of symbols, 1 or more, not {self.min_length}")
        if self.max_length is not None and self.max_length < self.min_length:
            raise ValueError(f"max_length {self.max_length} is below min_length {self.min_length}")
