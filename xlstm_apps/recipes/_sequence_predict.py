"""The steps of `sequence predict`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from xlstm_apps.biosequence import SequencePredictor
from xlstm_apps.datasets.sequences import SequenceSource
from xlstm_apps.estimators.sequence_comparison import output_cells
from xlstm_apps.estimators.sequence_fitting import predict_spans
from xlstm_apps.estimators.sequence_saved import load_sequence_model
from xlstm_apps.estimators.sequence_stretches import Stretches, open_stretches
from xlstm_apps.recipes._sequence_use import positions, region_names
from xlstm_apps.recipes._tables import TableOutput
from xlstm_apps.recipes._terminal import note, showing, tell

_BLOCK = 4096
"""Records whose predictions are held at a time."""


def predict(model: str, data: SequenceSource, output: str | None, batch_symbols: int | None, device: str) -> None:
    """Read the records, say what the model makes of each, and where the rows are."""
    target, console = TableOutput(output), Console(stderr=True)
    predictor = predictor_of(model, device)
    with open_stretches(data, predictor.model.alphabet) as stretches:
        with showing(console, "predicting", int(stretches.asked.sum())) as step:
            rows = target.write(frames(predictor, stretches, batch_symbols, step.advance))
        note(console, stretches.notes)
    what = "rows, one per symbol," if predictor.head_config.per_symbol else "rows"
    tell(console, [f"{rows:,} {what} in {target.name}"])


def predictor_of(model: str | Path, device: str) -> SequencePredictor:
    """A fine-tuned model.

    Raises:
        ValueError: None there, or a language model that was never told what to predict.
    """
    found = load_sequence_model(model, device)
    if not isinstance(found, SequencePredictor):
        raise ValueError(
            f"{model} is a language model, which predicts symbols only; make a predictor of it with: xlstm-apps "
            f"sequence finetune --from_model {model} --data.path LABELLED"
        )
    return found


def frames(
    predictor: SequencePredictor, stretches: Stretches, batch_symbols: int | None, tick: Callable[[int], None]
) -> Iterator[pl.DataFrame]:
    """One row per record or region, or per symbol of it, in the order of the input."""
    head, tokens, spans = predictor.head_config, predictor.model.alphabet.tokens, stretches.spans
    records, starts, strands = stretches.places()
    names = region_names(stretches)
    for begin in range(0, len(spans), _BLOCK):
        found = predict_spans(
            predictor, stretches.corpus, spans[slice(begin, begin + _BLOCK)], symbols=batch_symbols, tick=tick
        )
        rows: list[dict[str, Any]] = []
        for i, outputs in enumerate(found, begin):
            about = {"id": records[i], **{key: values[i] for key, values in names.items()}}
            start, length, strand = int(starts[i]), int(stretches.asked[i]), int(strands[i])
            if not head.per_symbol:
                rows.append({**about, "start": start, "length": length, **rounded(output_cells(head, outputs))})
                continue
            places = positions(start, length, strand, 0, length).tolist()
            for place, symbol, row in zip(places, stretches.read(i, 0, length).tolist(), outputs, strict=True):
                rows.append({**about, "position": place, "symbol": tokens[symbol], **rounded(output_cells(head, row))})
            if len(rows) >= _BLOCK:
                yield pl.DataFrame(rows, infer_schema_length=None)
                rows = []
        if rows:
            yield pl.DataFrame(rows, infer_schema_length=None)


def rounded(cells: dict[str, Any]) -> dict[str, Any]:
    """Numbers with as many places as a float32 means."""
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in cells.items()}
