"""The steps of `sequence predict`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from rich.console import Console

from xlstm_apps.biosequence import SequencePredictor, get_tokenizer
from xlstm_apps.datasets.sequences import Corpus, SequenceSource, Spans, open_corpus
from xlstm_apps.estimators.sequence_comparison import output_cells
from xlstm_apps.estimators.sequence_fitting import predict_spans
from xlstm_apps.estimators.sequence_saved import load_sequence_model
from xlstm_apps.recipes._sequence_use import showing, tell
from xlstm_apps.recipes._tables import TableOutput

_BLOCK = 4096
"""Records whose predictions are held at a time."""


def predict(model: str, data: SequenceSource, output: str | None, batch_symbols: int | None, device: str) -> None:
    """Read the records, say what the model makes of each, and where the rows are."""
    target, console = TableOutput(output), Console(stderr=True)
    predictor = predictor_of(model, device)
    codes = predictor.model.alphabet
    encode = None if codes.bytewise else get_tokenizer(codes.name).encode_bytes
    with open_corpus(data, codes, encode=encode) as corpus:
        with showing(console, "predicting", int(corpus.lengths.sum())) as step:
            rows = target.write(frames(predictor, corpus, batch_symbols, step.advance))
        quality = corpus.report
        left = [f"left out: {count:,} {reason}" for reason, count in quality["left_out"].items()]
    what = "rows, one per symbol," if predictor.head_config.per_symbol else "rows"
    tell(console, [*left, f"{rows:,} {what} in {target.name}"])


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
    predictor: SequencePredictor, corpus: Corpus, batch_symbols: int | None, tick: Callable[[int], None]
) -> Iterator[pl.DataFrame]:
    """One row per record, or per symbol, in the order of the records."""
    head, tokens = predictor.head_config, predictor.model.alphabet.tokens
    names = corpus.ids
    whole = Spans.whole(corpus)
    for begin in range(0, len(whole), _BLOCK):
        spans = whole[slice(begin, begin + _BLOCK)]
        found = predict_spans(predictor, corpus, spans, symbols=batch_symbols, tick=tick)
        if not head.per_symbol:
            yield pl.DataFrame(
                [
                    {"id": names[begin + n], "length": int(spans.lengths[n]), **output_cells(head, outputs)}
                    for n, outputs in enumerate(found)
                ]
            )
            continue
        for n, outputs in enumerate(found):
            symbols = corpus[begin + n]
            yield pl.DataFrame(
                [
                    {"id": names[begin + n], "position": k + 1, "symbol": tokens[symbols[k]], **output_cells(head, row)}
                    for k, row in enumerate(outputs)
                ]
            )
