"""Records of molecules made ready for a corpus: standardised, rejects with their reasons, each molecule once."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from xlstm_apps.datasets.sequences.quality import QualityReport
from xlstm_apps.datasets.sequences.record import Record

from .selfies_notation import is_selfies
from .standardise import EXTENSION, MoleculePolicy, Rejected, Standardiser

REJECTS = "rejects.tsv"
ELSEWHERE = "repeated in another group"
"""Why a molecule is left out that came before in another group than its own."""
Repeats = Literal["first", "keep", "error"]
_GROUPS = re.compile(r"(?:^|,)[&o]\d*:")
"""In an extension: centres that are a mixture, or not known."""
_NAMES = re.compile(r"\$[^$]*[^$;][^$]*\$")
"""In an extension: what atoms are called."""


class Reject(NamedTuple):
    """A record that was not taken."""

    id: str
    line: int
    smiles: str
    reason: str
    detail: str


class Curator:
    """Molecules written canonically, on their way into a corpus.

    Args:
        policy: For salts and stereochemistry.
        on_bad: `error`: stop at the first that is no molecule; else leave it out.
        repeats: Of molecules that come twice keep the `first`, `keep` all, or take it for an `error`.
        by_group: Only within a group do they come twice.

    Attributes:
        rejects: What was left out, filled on the way.
    """

    def __init__(
        self, policy: MoleculePolicy, on_bad: str = "error", repeats: Repeats = "first", by_group: bool = False
    ) -> None:
        self.standardiser = Standardiser(policy)
        self.on_bad, self.repeats, self.by_group = on_bad, repeats, by_group
        self.rejects: list[Reject] = []

    def __call__(self, records: Iterable[Record], report: QualityReport) -> Iterator[Record]:
        """The records that are taken, with canonical SMILES.

        Raises:
            ValueError: A record is no molecule, or comes twice, and that is an error; names file, line and record.
        """
        seen: dict[tuple[str | None, str], Any] = {}
        changed = twice = disagree = translated = extended = grouped = named = garbled = 0
        for record in records:
            written = record.sequence.decode("utf-8", errors="replace").strip()
            garbled += "\ufffd" in record.id
            try:
                smiles = self.standardiser(written)
            except Rejected as verdict:
                if not written and not record.description.startswith("|"):  # a structure says why it has no SMILES
                    verdict = Rejected(verdict.reason, record.description or str(verdict).partition(": ")[2])
                if self.on_bad == "error" and verdict.reason != "salt":  # dropping salts is what the user asked for
                    raise ValueError(
                        f"{record.where()}: {verdict}; set data.on_bad to 'skip' to leave such records out"
                    ) from None
                self._leave_out(record, written, verdict.reason, str(verdict).partition(": ")[2], report)
                continue
            for text in EXTENSION.findall(written) or EXTENSION.findall(record.description):
                extended += 1
                grouped += bool(_GROUPS.search(text))
                named += bool(_NAMES.search(text))
            key = (record.group if self.by_group else None, smiles)
            if self.repeats != "keep" and key in seen:
                if self.repeats == "error":
                    where = f"{record.where()}: the molecule {smiles} has come before"
                    raise ValueError(f"{where}; set data.repeats to 'first' or 'keep'")
                twice += 1
                label, group = seen[key]
                disagree += record.label != label
                self._leave_out(record, written, "repeated" if record.group == group else ELSEWHERE, smiles, report)
                continue
            if self.repeats != "keep":
                seen[key] = record.label, record.group
            translated += is_selfies(written)
            changed += smiles != written
            record.sequence = smiles.encode()
            yield record
        if changed:
            given = f", {translated:,} of them from SELFIES" if translated else ""
            report.notes.append(f"{changed:,} molecules written anew, canonically{given}")
        if extended:
            lost = f", {grouped:,} with groups of stereo centres (& or o), which are read as drawn" if grouped else ""
            lost += f", {named:,} with names of atoms (labels, alias lines), which are read as drawn" if named else ""
            report.notes.append(f"{extended:,} extensions between bars (CXSMILES) left off{lost}")
        if garbled:
            report.notes.append(f"{garbled:,} names are not UTF-8: letters that cannot be read are U+FFFD")
        if disagree:
            report.notes.append(
                f"{disagree:,} of {twice:,} repeated molecules have another label than the first, which counts"
            )

    def write(self, folder: Path) -> None:
        """The rejects as a table in `folder`, where there are any."""
        if self.rejects:
            import polars as pl

            pl.DataFrame(self.rejects, schema=Reject._fields, orient="row").write_csv(folder / REJECTS, separator="\t")

    def _leave_out(self, record: Record, smiles: str, reason: str, detail: str, report: QualityReport) -> None:
        report.records += 1
        report.leave_out(reason, f"{record.where()}: {detail}")
        self.rejects.append(Reject(record.id, record.line, smiles, reason, detail))
