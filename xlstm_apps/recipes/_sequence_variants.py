"""The verb `sequence variants`: alleles in, effects out, with a summary for a person."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from xlstm_apps.biosequence.effects import effect_names
from xlstm_apps.biosequence.heads import language_part
from xlstm_apps.datasets.sequences import SequenceSource, open_corpus, read_variants
from xlstm_apps.datasets.sequences.vcf_output import annotated, write_lines
from xlstm_apps.estimators.sequence_saved import load_sequence_model
from xlstm_apps.estimators.sequence_stretches import findings
from xlstm_apps.estimators.sequence_variants import (
    VariantCounts,
    VariantEffect,
    effect_frames,
    variant_effects,
)
from xlstm_apps.recipes._sequence_effects import Asked
from xlstm_apps.recipes._tables import TableOutput, check_target
from xlstm_apps.recipes._terminal import note, showing, tell
from xlstm_apps.training import files

ADVICE = {
    "ref_mismatch": "REF is not what the genome holds: another assembly, or a file counted from 0?",
    "unknown_contig": "no such record in the genome",
    "beyond_contig": "before the begin or behind the end of its contig: another assembly?",
    "ambiguous": "N among what changes",
    "symbolic": "<DEL>, breakends: no sequence is given",
    "overlapping": "* stands for a deletion in another row",
    "no_change": "ALT is . or REF",
    "bad": "characters that are no bases",
}
MANY = 0.05
SHOWN = 5


def run(model_path: str, vcf: str, data: SequenceSource, output: str | None, asked: Asked, device: str) -> None:
    """Score the variants of a file; see `recipes.sequence_changes.variants`."""
    console = Console(stderr=True)
    if data.regions_path is not None:
        raise ValueError("data.regions_path cuts the genome, and variants need whole contigs; leave it out")
    as_vcf = output is not None and output.endswith((".vcf", ".vcf.gz"))
    table = None if as_vcf else TableOutput(output)
    if as_vcf:
        check_target(Path(str(output)), (".vcf", ".vcf.gz", ".tsv", ".csv", ".parquet"), "output")
    total = sum(1 for _ in read_variants(vcf))  # the whole file is looked at before any work is done
    model = load_sequence_model(model_path, device)
    options, context = asked.of(model_path)
    alphabet = language_part(model).alphabet
    counts, names, tally = VariantCounts(), effect_names(model), Tally()
    with open_corpus(data, alphabet) as corpus:
        note(console, findings(corpus.report))
        note(console, [context])
        with showing(console, "variants", total) as step:
            effects = tally.watched(
                variant_effects(model, corpus, read_variants(vcf), options, counts=counts, advance=step.advance)
            )
            if table is not None:
                table.write(effect_frames(effects, names))
            else:
                with files.replacing(str(output)) as aside:
                    rows = info_values(effects, names)
                    write_lines(aside, annotated(vcf, rows, info_header(names)), packed=str(output).endswith(".gz"))
    report(console, counts, tally, "the standard output" if output in (None, "-") else str(output))


class Tally:
    """Scores by kind, and the strongest alleles, in passing."""

    def __init__(self) -> None:
        self.scores: dict[str, list[float]] = {}
        self.lowest: list[tuple[float, str]] = []

    def watched(self, effects: Iterable[VariantEffect]) -> Iterator[VariantEffect]:
        """The effects, each looked at."""
        for effect in effects:
            score = effect.score
            if not math.isnan(score):
                self.scores.setdefault(effect.checked.kind, []).append(score)
                if len(self.lowest) < SHOWN or score < self.lowest[-1][0]:
                    v = effect.given
                    label = f"{v.contig}:{v.start + 1} {_short(v.ref)}>{_short(v.alt)}{f' {v.id}' if v.id else ''}"
                    self.lowest = sorted([*self.lowest, (score, label)])[:SHOWN]
            yield effect


def _short(allele: str) -> str:
    return allele if len(allele) <= 12 else f"{allele[:8]}...({len(allele)})"


def info_header(names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """INFO entries of a VCF file: type and description by name."""
    change = "log p of the ALT allele minus that of REF in nats, or the change of a predictor's output"
    out = {
        "XLSTM_SCORE": ("Float", f"{change}; below 0: less"),
        "XLSTM_FORWARD": ("Float", "XLSTM_SCORE on the forward strand"),
        "XLSTM_REVERSE": ("Float", "XLSTM_SCORE on the reverse strand"),
        "XLSTM_STATUS": ("String", f"ok, or why there is no score: {', '.join(ADVICE)}"),
    }
    if len(names) > 1:
        out["XLSTM_OUTPUT"] = ("String", "Output that XLSTM_SCORE is of, the one that changes most")
        out |= {_info_name(name): ("Float", f"Change of the output {name}") for name in names}
    return out


def _info_name(name: str) -> str:
    return "XLSTM_CHANGE_" + re.sub(r"\W", "_", name)


def info_values(effects: Iterable[VariantEffect], names: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Values of those entries for every allele."""
    for effect in effects:
        values = {"XLSTM_STATUS": effect.checked.status}
        scores = {"XLSTM_SCORE": effect.score, "XLSTM_FORWARD": effect.forward, "XLSTM_REVERSE": effect.reverse}
        if len(names) > 1 and effect.changes is not None:
            values["XLSTM_OUTPUT"] = re.sub(r"[\s;,=]", "_", names[effect.output])
            scores |= {_info_name(name): x for name, x in zip(names, effect.changes.tolist(), strict=True)}
        values |= {name: f"{x:.6g}" for name, x in scores.items() if not math.isnan(x)}
        yield values


def report(console: Console, counts: VariantCounts, tally: Tally, where: str) -> None:
    """What was scored and what was not, for a person."""
    table = Table(title="score by kind", header_style="bold")
    for heading in ("kind", "alleles", "5 %", "median", "95 %"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind, scores in sorted(tally.scores.items(), key=lambda item: -len(item[1])):
        low, middle, high = (f"{q:+.3f}" for q in np.nanquantile(scores, [0.05, 0.5, 0.95]))
        table.add_row(kind, f"{len(scores):,}", low, middle, high)
    if tally.scores:
        console.print(table)
        tell(console, ["lowest: " + "; ".join(f"{label} {score:+.3f}" for score, label in tally.lowest)])
    for status, count in counts.status.most_common():
        if status != "ok":
            example = f" (first: {counts.examples[status]})" if status in counts.examples else ""
            note(console, [f"{count:,} without a score, {status}: {ADVICE[status]}{example}"])
    if counts.swapped:
        note(console, [f"for {counts.swapped:,} of them the genome holds ALT: REF and ALT may be exchanged"])
    if counts.status["ref_mismatch"] > MANY * max(counts.total, 1):
        share = counts.status["ref_mismatch"] / counts.total
        note(console, [f"{share:.0%} of the rows do not fit this genome; make sure that it is the same assembly"])
    if counts.repeated:
        note(console, [f"{counts.repeated:,} alleles are in the file already, perhaps written another way; all rows "
                       "have their score"])  # fmt: skip
    scored = f"{counts.status['ok']:,} of {counts.total:,} alleles"
    tell(console, [f"scored {scored} (log p(ALT) - log p(REF), or the change of the output; below 0: less)"])
    tell(console, [f"effects in {where}"])
