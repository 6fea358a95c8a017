"""The verb `sequence scan`: every symbol of a stretch replaced by every other one, as a table and heat maps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xlstm_apps.biosequence.heads import SequencePredictor, language_part
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.datasets.sequences import Corpus, Region, SequenceSource, Spans, place_regions
from xlstm_apps.datasets.sequences.dividing import parse_region
from xlstm_apps.estimators.sequence_fitness import Method
from xlstm_apps.estimators.sequence_saved import language_model, load_sequence_model
from xlstm_apps.estimators.sequence_scan import Scan, replacements, scan_stretches
from xlstm_apps.estimators.sequence_scan_proteins import scan_proteins
from xlstm_apps.estimators.sequence_stretches import open_stretches
from xlstm_apps.recipes._sequence_effects import Asked
from xlstm_apps.recipes._sequence_protein import family_context
from xlstm_apps.recipes._tables import TableOutput
from xlstm_apps.recipes._terminal import note, showing, tell
from xlstm_apps.report.mutation_map import MOST_MAPS, MutationMap, draw, strongest, write_maps
from xlstm_apps.training import files

SHOWN = 8
MOST_OUTPUTS = 6


def run(
    model_path: str,
    data: SequenceSource,
    regions: list[str] | None,
    output: str,
    deletions: bool,
    asked: Asked,
    max_positions: int,
    device: str,
    family_path: str | None = None,
    method: Method | None = None,
) -> None:
    """Scan stretches; see `recipes.sequence_changes.scan`."""
    console = Console(stderr=True)
    folder = files.check_folder(output)
    if regions is not None and data.regions_path is not None:
        raise ValueError("regions and data.regions_path both say what to scan; leave one out")
    whole = family_path is not None or method is not None  # proteins, each read from end to end
    if whole:
        check_whole(deletions=deletions or None, strands=asked.strands, context_length=asked.context_length,
                    downstream=asked.downstream, per_symbol=asked.per_symbol or None)  # fmt: skip
        model = language_model(model_path, device, verb="compare residues")
        family = family_context(family_path, model)
    else:
        model, family = load_sequence_model(model_path, device), None
    options, context = asked.of(model_path)
    alphabet = language_part(model).alphabet
    symbols = replacements(alphabet, deletions=deletions)
    with open_stretches(data, alphabet) as stretches:
        corpus = stretches.corpus
        spans, names = (stretches.spans, stretches.names) if regions is None else named(corpus, regions)
        names = titles(corpus, spans, names)
        positions = int(spans.lengths.sum())
        if positions > max_positions:
            raise ValueError(
                f"{', '.join(data.path)}: {positions:,} positions to scan, more than max_positions {max_positions:,}; "
                "name stretches with --regions chr1:1001-1200 or data.regions_path, or raise it"
            )
        note(console, stretches.notes)
        if not whole:
            note(console, [context])
        with showing(console, "replacements", positions * (len(symbols) - 1)) as step:
            if whole:
                assert isinstance(model, SequenceModel)
                found = scan_proteins(model, corpus, spans, names, family=family, method=method or "auto",
                                      tokens=asked.batch_symbols, advance=step.advance)  # fmt: skip
            else:
                found = scan_stretches(model, corpus, spans, names, options, deletions=deletions, advance=step.advance)
            scans = list(found)
    folder.mkdir(exist_ok=True)
    rows = TableOutput(str(folder / "effects.tsv")).write(scan.frame() for scan in scans)
    maps = heat_maps(scans, unit_of(model))
    for chart in maps[:MOST_MAPS]:
        files.write_text(folder / f"{file_name(chart.title)}.svg", draw(chart, alone=True) + "\n")
    meaning = (
        "Change of the output of a fine-tuned model: below 0, less."
        if isinstance(model, SequencePredictor)
        else "log p of the replacement minus log p of what stands there, in nats: below 0, less probable. What a model "
        "finds improbable need not do harm."
    )
    page = write_maps(folder / "scan.html", maps, subject=f"Scan with {Path(model_path).name}", meaning=meaning)
    report(console, maps)
    if len(maps) > MOST_MAPS:
        note(console, [f"heat maps of the first {MOST_MAPS} of {len(maps):,} stretches; the table holds all"])
    tell(console, [f"{rows:,} replacements at {positions:,} positions in {folder / 'effects.tsv'}, {page}"])


def check_whole(**given: object) -> None:
    """See that nothing is asked for that has no meaning where proteins are read from end to end.

    Raises:
        ValueError: Something is; names it.
    """
    said = next((name for name, value in given.items() if value is not None), None)
    if said is not None:
        raise ValueError(
            f"{said} does not go with context and method, which read a protein from end to end; leave it out"
        )


def named(corpus: Corpus, regions: list[str]) -> tuple[Spans, list[str]]:
    """Stretches written as chr1:1001-1200, with `:-` behind them on the other strand.

    Raises:
        ValueError: Another form; no such record, or it ends before.
    """
    found = []
    for text in regions:
        turned = text.endswith(":-")
        contig, start, end = parse_region(corpus, text.removesuffix(":-").removesuffix(":+"))
        if turned and corpus.complement is None:
            raise ValueError(f"regions: {text!r} is on the other strand, which the {corpus.alphabet['name']} alphabet "
                             "has not")  # fmt: skip
        found.append(Region(contig=contig, start=start, end=end, strand="-" if turned else "+", name=text,
                            source="regions"))  # fmt: skip
    placed = place_regions(corpus, found, "error")
    return placed.spans, [region.name for region in placed.regions]


def titles(corpus: Corpus, spans: Spans, names: Sequence[str] | None) -> list[str]:
    """A name for each stretch; the place where it has none, and a number where several share one."""
    out: list[str] = []
    for n in range(len(spans)):
        record = int(spans.record[n])
        name = names[n] if names is not None and names[n] not in ("", ".") else ""
        if not name and int(spans.lengths[n]) == int(corpus.lengths[record]):
            name = corpus.ids[record]
        name = name or f"{corpus.ids[record]}:{int(spans.start[n]) + 1}-{int(spans.stop[n])}"
        out.append(name if name not in out else f"{name} ({n + 1})")
    return out


def unit_of(model: SequenceModel | SequencePredictor) -> str:
    """What the numbers are, in a word or two."""
    if not isinstance(model, SequencePredictor):
        return "nats"
    if model.head_config.task == "regression":
        return "in units of the target"
    classes = model.head_config.task == "classification" and model.head.out_features > 2
    return "log probability" if classes else "log odds"


def heat_maps(scans: Sequence[Scan], unit: str) -> list[MutationMap]:
    """A heat map per stretch, and per output where there are several."""
    out = []
    for scan in scans:
        mean = scan.mean
        for n, name in enumerate(scan.names[:MOST_OUTPUTS]):
            title = f"{scan.name}: {name}" if name else scan.name
            out.append(
                MutationMap(
                    title=title,
                    ref=scan.ref,
                    positions=scan.positions.tolist(),
                    symbols=scan.symbols,
                    values=mean[:, :, n],
                    unit=unit,
                    stretch=scan.name,
                )
            )
    return out


def file_name(title: str) -> str:
    """A name for a file."""
    return re.sub(r"[^\w.+-]+", "_", title).strip("_.")[:100] or "scan"


def report(console: Console, maps: Sequence[MutationMap]) -> None:
    """The strongest replacements, for a person."""
    table = Table(title="replacements that lower most", header_style="bold")
    for heading in ("stretch", "replacement", "score"):
        table.add_column(heading, justify="right" if heading == "score" else "left")
    for title, label, value in strongest(maps, SHOWN):
        table.add_row(escape(title), escape(label), f"{value:+.3f}")
    values = np.concatenate([chart.values[np.isfinite(chart.values)] for chart in maps]) if maps else np.zeros(0)
    if values.size:
        console.print(table)
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        tell(console, [f"5 %, median, 95 % of all: {low:+.3f}, {middle:+.3f}, {high:+.3f}"])
