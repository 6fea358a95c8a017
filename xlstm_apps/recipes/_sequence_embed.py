"""The steps of `sequence embed`: a vector per record, or per symbol, as arrays or as a table."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from rich.console import Console

from xlstm_apps.biosequence.heads import SequencePredictor, language_part
from xlstm_apps.biosequence.model import SequenceModel
from xlstm_apps.datasets.sequences.config import SequenceSource
from xlstm_apps.estimators.sequence_features import Pooled, Pooling, feature_blocks
from xlstm_apps.estimators.sequence_saved import load_sequence_model
from xlstm_apps.estimators.sequence_stretches import Stretches, open_stretches
from xlstm_apps.estimators.sequence_track import Track
from xlstm_apps.recipes._sequence_use import positions, region_names, speed, strand_marks
from xlstm_apps.recipes._tables import check_target, write_parquet
from xlstm_apps.recipes._terminal import note, showing, tell
from xlstm_apps.training import files

ROWS = 2**14


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which features, and how they are computed."""

    layer: int
    pooling: Pooling | Literal["none"]
    dtype: Literal["float32", "float16"]
    context_length: int
    window: int | None
    overlap: int | None
    batch_symbols: int | None


def embed(model_path: str, data: SequenceSource, output: str, wanted: Wanted, device: str) -> None:
    """Compute all features, write them, and say what they are."""
    console, target = Console(stderr=True), Path(output)
    check_target(target, (".npz", ".parquet"), "output")
    if wanted.dtype == "float16" and target.suffix == ".parquet" and not hasattr(pl, "Float16"):
        raise ValueError(f"output {output}: this polars ({pl.__version__}) has no float16 for Parquet; write .npz")
    model = load_sequence_model(model_path, device)
    language = language_part(model)
    before = wanted.context_length
    after = 0 if language.sequence.objective == "causal" and not language.reads_both else before
    with open_stretches(data, language.alphabet, before=before, after=after) as stretches:
        width = language.config.embedding_dim
        pooled = wanted.pooling != "none"
        lengths = np.ones_like(stretches.asked) if pooled else stretches.asked
        with Track(lengths, target.parent, width, np.dtype(wanted.dtype).type) as track:
            began = time.perf_counter()
            fill(track, model, stretches, wanted, console)
            seconds = time.perf_counter() - began
            write = write_npz if target.suffix == ".npz" else write_table
            write(target, track, stretches, pooled)
            places = "behind the last block, normalised" if wanted.layer == -1 else f"behind block {wanted.layer}"
            places = "of the embedding" if wanted.layer == 0 else places
            kind = "records" if stretches.names is None else "regions"
            rows = f"{len(stretches):,} {kind}" if pooled else f"{track.offsets[-1]:,} symbols"
            how = f"{wanted.pooling} over the symbols of each" if pooled else "one vector per symbol"
            tell(
                console,
                [
                    f"{rows}: {width} features {places}, {how}, {wanted.dtype}",
                    *speed(int(stretches.asked.sum()), seconds),
                ],
            )
            note(console, stretches.notes)
            tell(console, [f"features in {target}"])


def fill(
    track: Track, model: SequenceModel | SequencePredictor, stretches: Stretches, wanted: Wanted, console: Console
) -> None:
    """All features, as they come, put where they belong."""
    blocks = feature_blocks(
        model,
        stretches,
        layer=wanted.layer,
        window=wanted.window,
        overlap=wanted.overlap,
        batch_symbols=wanted.batch_symbols,
    )
    pools: dict[int, Pooled] = {}
    with showing(console, "embedding", int(stretches.asked.sum())) as step:
        for block in blocks:
            step.advance(len(block.strands[0]))
            if wanted.pooling == "none":
                mean = sum(block.strands[1:], block.strands[0]) / len(block.strands)
                track.put(block.stretch, block.place, checked(mean.float().numpy(), track.dtype))
                continue
            pool = pools.setdefault(block.stretch, Pooled(wanted.pooling))
            pool.add(block)
            if pool.count == stretches.asked[block.stretch]:
                track.put(block.stretch, 0, checked(pools.pop(block.stretch).result()[None], track.dtype))


def checked(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The numbers in the type they are written in.

    Raises:
        ValueError: they do not fit.
    """
    if dtype == np.float16 and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise ValueError("features are too large for float16; write dtype float32")
    return values.astype(dtype)


def write_npz(path: Path, track: Track, stretches: Stretches, pooled: bool) -> None:
    """Arrays: `features` [N, E], or [S, E] with the borders of the records in `offsets` [N + 1]."""
    records, starts, strands = stretches.places()
    arrays: dict[str, Any] = {"features": track.mapped(), "id": np.array(records)}
    if stretches.names is not None:
        arrays["name"] = np.array(stretches.names)
    arrays |= {"start": starts, "length": stretches.asked, "strand": strand_marks(strands)}
    if not pooled:
        arrays["offsets"] = track.offsets
    with files.replacing(path) as aside:
        np.savez(aside, **arrays)


def write_table(path: Path, track: Track, stretches: Stretches, pooled: bool) -> None:
    """A row per record, or per symbol, with its features in one column of arrays."""
    make = record_frames if pooled else symbol_frames
    with files.replacing(path) as aside:
        write_parquet(aside, make(track, stretches))


def record_frames(track: Track, stretches: Stretches) -> Iterator[pl.DataFrame]:
    """A row per record."""
    records, starts, strands = stretches.places()
    vectors, signs = track.mapped(), strand_marks(strands)
    for begin in range(0, len(stretches), ROWS):
        part = slice(begin, begin + ROWS)
        yield pl.DataFrame(
            {
                "id": records[part],
                **{key: value[part] for key, value in region_names(stretches).items()},
                "start": starts[part],
                "length": stretches.asked[part],
                "strand": signs[part],
                "features": np.array(vectors[part]),
            }
        )


def symbol_frames(track: Track, stretches: Stretches) -> Iterator[pl.DataFrame]:
    """A row per symbol; `position` counts from 1 along the source."""
    records, starts, strands = stretches.places()
    held: list[pl.DataFrame] = []
    for i in range(len(stretches)):
        names = {} if stretches.names is None else {"name": stretches.names[i]}
        done = 0
        for block in track.blocks(i, ROWS):
            place = positions(int(starts[i]), int(stretches.asked[i]), int(strands[i]), done, len(block))
            held.append(pl.DataFrame({"id": records[i], **names, "position": place, "features": np.array(block)}))
            done += len(block)
            if sum(map(len, held)) >= ROWS:
                yield pl.concat(held)
                held = []
    if held:
        yield pl.concat(held)
