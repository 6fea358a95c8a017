"""The steps of `sequence score`: a row per record, and a track of every symbol where it is asked for."""

import gzip
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xlstm_apps.biosequence.family import FamilyContext
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.datasets.sequences.config import SequenceSource
from xlstm_apps.estimators.sequence_saved import language_model
from xlstm_apps.estimators.sequence_scores import Strands, Totals, score_stretches
from xlstm_apps.estimators.sequence_stretches import Stretches, open_stretches
from xlstm_apps.estimators.sequence_track import Track
from xlstm_apps.recipes._sequence_protein import behind, family_context
from xlstm_apps.recipes._sequence_use import region_names, speed, strand_marks
from xlstm_apps.recipes._tables import TableOutput, check_target
from xlstm_apps.recipes._terminal import note, showing, tell
from xlstm_apps.training import files

ROWS = 100_000
TRACKS = (".bedgraph", ".bedGraph", ".bedgraph.gz", ".bedGraph.gz", ".npz")
LN2 = math.log(2)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the model reads."""

    strands: Strands | None
    context_length: int
    window: int | None
    overlap: int | None
    passes: int | None
    batch_symbols: int | None


def score(
    model_path: str,
    data: SequenceSource,
    output: str | None,
    per_base: str | None,
    reading: Reading,
    device: str,
    context: str | None = None,
) -> None:
    """Score everything, write the table and the track, and say what came out."""
    console = Console(stderr=True)
    target = TableOutput(output)
    track_path = None if per_base is None else Path(per_base)
    if track_path is not None:
        check_target(track_path, TRACKS, "per_base")
    model = language_model(model_path, device, verb="score")
    notes: list[str] = []
    family = family_context(context, model, model_path, notes=notes)
    before = reading.context_length
    one_sided = model.sequence.objective == "causal" and not reads_both(model, reading.strands)
    with ExitStack() as stack:
        after = 0 if one_sided else before
        stretches = stack.enter_context(open_stretches(data, model.alphabet, before=before, after=after))
        track = None
        if track_path is not None:
            if track_path.suffix != ".npz":
                check_apart(stretches)
            track = stack.enter_context(Track(stretches.asked, track_path.parent))
        began = time.perf_counter()
        totals = run(model, stretches, reading, track, console, family)
        seconds = time.perf_counter() - began
        target.write(frames(model, stretches, totals, reading))
        if track is not None and track_path is not None:
            write_track(track_path, track, stretches)
        show(console, stretches, totals, seconds)
        note(console, [*stretches.notes, *notes])
        tell(console, behind(context, family))
    written = [] if target.path is None else [f"scores in {target.path}"]
    tell(console, written if track_path is None else [*written, f"every symbol in {track_path}"])


def reads_both(model: SequenceModel, strands: Strands | None) -> bool:
    """Whether scores are means over both strands."""
    if strands is not None:
        return strands == "both"
    return model.sequence.symmetry in ("posthoc", "shared")


def run(
    model: SequenceModel,
    stretches: Stretches,
    reading: Reading,
    track: Track | None,
    console: Console,
    family: FamilyContext | None = None,
) -> Totals:
    """All scores, summed up and put into the track; of several contexts the mean."""
    totals = Totals(len(stretches))
    draws = 1 if family is None else len(family)
    with showing(console, "scoring", int(stretches.asked.sum()) * draws) as step:
        for draw in range(draws):
            pieces = score_stretches(
                model,
                stretches,
                strands=reading.strands,
                window=reading.window,
                overlap=reading.overlap,
                batch_symbols=reading.batch_symbols,
                passes=reading.passes,
                context=None if family is None else family.begin(model, draw),
            )
            for piece in pieces:
                if piece.first:
                    step.advance(len(piece.nll))
                part = piece._replace(nll=piece.nll / draws, first=piece.first and draw == 0)
                totals.add(part)
                if track is not None:
                    track.put(part.stretch, part.place, part.nll / LN2, add=not part.first)
    return totals


def frames(model: SequenceModel, stretches: Stretches, totals: Totals, reading: Reading) -> Iterator[pl.DataFrame]:
    """The table, in the order of the input."""
    records, starts, strands = stretches.places()
    both = reads_both(model, reading.strands)
    for begin in range(0, len(stretches), ROWS):
        part = slice(begin, begin + ROWS)
        nll, scored = totals.nll[part], totals.scored[part]
        mean = np.divide(nll, scored, out=np.full(len(nll), np.nan), where=scored > 0)
        names = {key: value[part] for key, value in region_names(stretches).items()}
        yield pl.DataFrame(
            {
                "id": records[part],
                **names,
                "start": starts[part],
                "length": stretches.asked[part],
                "n_scored": scored,
                "nll": np.where(scored > 0, nll, np.nan),
                "nll_per_token": mean,
                "ppl": np.exp(mean),
                "bits_per_token": mean / LN2,
                "mode": "causal" if model.sequence.objective == "causal" else "pll",
                "strand": np.full(len(nll), "both") if both else strand_marks(strands[part]),
                "n_ambiguous": totals.ambiguous[part],
                "status": statuses(scored, totals.ambiguous[part], stretches.asked[part]),
            }
        ).with_columns(pl.col("nll", "nll_per_token", "ppl", "bits_per_token").fill_nan(None).round(6))


def statuses(scored: np.ndarray, ambiguous: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`ok`, or why there is no score (`ambiguous`: all symbols are; `too_short`: one, which nothing expects): [N]."""
    return np.where(scored > 0, "ok", np.where(ambiguous == lengths, "ambiguous", "too_short"))


def show(console: Console, stretches: Stretches, totals: Totals, seconds: float) -> None:
    """The whole in a few lines, and the least and most expected records."""
    scored, symbols = int(totals.scored.sum()), int(stretches.asked.sum())
    table = Table(title="Scores", title_justify="left")
    for name in ("", "symbols", "scored", "bits per symbol", "perplexity"):
        table.add_column(name, justify="left" if name == "" else "right")

    def row(name: str, length: int, count: int, nll: float) -> None:
        mean = nll / count if count else math.nan
        table.add_row(escape(name), f"{length:,}", f"{count:,}", f"{mean / LN2:.4f}", f"{math.exp(mean):.4f}")

    kind = "records" if stretches.names is None else "regions"
    row(f"all {len(stretches):,} {kind}", symbols, scored, float(totals.nll.sum()))
    usable = np.flatnonzero(totals.scored > 0)
    if len(stretches) > 1 and len(usable):
        order = usable[np.argsort(totals.nll[usable] / totals.scored[usable], kind="stable")]
        records, starts, _ = stretches.places()
        chosen = [("most expected", order[0]), ("least expected", order[-1])] if len(order) > 1 else []
        for what, i in chosen:
            name = records[i] if stretches.names is None else stretches.names[i] or f"{records[i]}:{starts[i] + 1}"
            row(f"{what}: {name}", int(stretches.asked[i]), int(totals.scored[i]), float(totals.nll[i]))
    console.print(table)
    missing = len(stretches) - len(usable)
    lines = [f"{kind} without a score: {missing:,}; see the column status"] if missing else []
    tell(console, [*lines, *speed(symbols, seconds)])


def check_apart(stretches: Stretches) -> None:
    """A track has one value per place.

    Raises:
        ValueError: regions overlap.
    """
    records, starts, _ = stretches.places()
    ends = starts + stretches.asked
    order = sorted(range(len(stretches)), key=lambda i: (records[i], starts[i]))
    for before, after in itertools.pairwise(order):
        if records[before] == records[after] and starts[after] < ends[before]:
            raise ValueError(
                f"per_base: regions overlap at {records[after]}:{starts[after] + 1}, and a bedGraph holds one value "
                "per place; write .npz, or merge the regions"
            )


def write_track(path: Path, track: Track, stretches: Stretches) -> None:
    """Bits of every symbol: a bedGraph on the given strand of the source, or arrays as read."""
    records, starts, strands = stretches.places()
    with files.replacing(path) as aside:
        if path.suffix == ".npz":
            names = {} if stretches.names is None else {"name": np.array(stretches.names)}
            np.savez(
                aside, bits=track.mapped()[:, 0], offsets=track.offsets, id=np.array(records), **names, start=starts,
                strand=strand_marks(strands),
            )  # fmt: skip
            return
        with _writing(aside, packed=path.suffix == ".gz") as file:
            file.write(b'track type=bedGraph name="bits" description="-log2 p of every symbol"\n')
            order = sorted(range(len(stretches)), key=lambda i: (int(stretches.spans.record[i]), int(starts[i])))
            for i in order:
                for bits, place in in_order(track, i, int(starts[i]), int(strands[i])):
                    known = np.isfinite(bits)
                    at = (place + np.arange(len(bits)))[known]
                    frame = pl.DataFrame({"id": records[i], "start": at, "end": at + 1, "bits": bits[known]})
                    text = frame.write_csv(include_header=False, separator="\t", float_precision=4)
                    file.write(text.encode())


def in_order(track: Track, index: int, start: int, strand: int) -> Iterator[tuple[np.ndarray, int]]:
    """Bits along the source, and where they begin; what was read on the other strand is turned around."""
    for block in track.blocks(index, backwards=strand < 0):
        yield block[:, 0], start
        start += len(block)


@contextmanager
def _writing(path: Path, *, packed: bool) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        if not packed:
            yield file
            return
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as archive:
            yield archive  # type: ignore[misc]
